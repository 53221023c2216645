"""The scripts' command line: one clear line, the right exit code, no noise."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from absl import flags

import sobolev_tf as st
from train.lib.run import cli, errors, strategies, tf_quiet

PRESETS = {"small": {"epochs": 2}, "paper": {"epochs": 90, "strategy": "none"}}


@pytest.fixture
def values():
    own = cli.common_flags(PRESETS)
    flags.DEFINE_float("rate", 0.1, "Learning rate.", 0.0, 1.0, flag_values=own)
    flags.DEFINE_float("pause", 0.0, "Seconds to wait.", flag_values=own)
    return own


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--sed=1", "--sed is unknown: did you mean --seed?"),
        ("--seed=x", "--seed=x: expected an integer in the range [0, 4294967295]"),
        ("--seed=-1", "--seed=-1: expected an integer in the range"),
        ("--seed=4294967296", "--seed=4294967296: expected an integer in the range"),
        ("--epochs=0", "--epochs=0: expected a positive integer"),
        ("--rate=2", "--rate=2: expected a number in the range [0.0, 1.0]"),
        ("--epochs=99999999999", "--epochs=99999999999: expected at most 2147483647"),
        ("--pause=nan", "--pause=nan: expected a finite number"),
        ("--pause=-inf", "--pause=-inf: expected a finite number"),
        ("--pause=-1e39", "--pause=-1e+39: expected at most 1e+38"),
        ("--preset=big", "--preset=big: expected small or paper"),
        ("--jit_compile=x", "--jit_compile=x: expected true or false"),
        ("--jit", "--jit has a new name: --jit_compile"),
        ("--nojit", "--nojit has a new name: --nojit_compile"),
        ("--qqqqq=1", "--qqqqq is unknown; --help lists the flags"),
        ("--seed", "Missing value for flag --seed"),
        ("seed=1", "'seed=1' is not a flag"),
    ],
)
def test_bad_arguments_say_what_was_expected(values, argument, message):
    with pytest.raises(errors.UsageError) as error:
        cli.parse(values, ["script", argument], PRESETS)
    assert message in str(error.value)


def test_a_working_folder_that_is_gone_is_one_line(values, tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr("sys.argv", ["script"])
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda settings: pytest.fail("started"), values)
    assert ended.value.code == 2
    assert "the folder that this was started in is gone" in capsys.readouterr().err


def test_a_flag_goes_before_its_preset(values):
    settings = cli.parse(values, ["script", "--epochs=5", "--preset=paper"], PRESETS)
    assert (settings.epochs, settings.strategy, settings.seed) == (5, "none", 0)
    assert settings.typed == {"epochs", "preset"}


def test_the_same_command_has_the_same_workdir(values, monkeypatch):
    monkeypatch.setattr(cli, "script", lambda: "train.imagenet")
    assert cli.workdir(cli.parse(values, ["script"])) == Path("runs/imagenet")
    settings = cli.parse(values, ["script", "--seed=3", "--rate=0.5", "--tensorboard"])
    assert cli.workdir(settings) == Path("runs/imagenet-rate=0.5-seed=3")
    assert cli.workdir(settings, leave_out=["rate"]) == Path("runs/imagenet-seed=3")
    settings = cli.parse(values, ["script", "--workdir=/tmp/a b"])
    assert cli.workdir(settings) == Path("/tmp/a b")


def test_workdirs_of_long_or_odd_commands_stay_apart(monkeypatch):
    def folder(argument):
        own = cli.common_flags()
        flags.DEFINE_string("cuts", "", "", flag_values=own)
        return cli.workdir(cli.parse(own, ["script", argument]))

    assert folder("--cuts=a/b") != folder("--cuts=a_b")
    assert folder("--cuts=" + "a" * 99 + "b") != folder("--cuts=" + "a" * 99 + "c")
    assert len(folder("--cuts=" + "/" * 300).name) < 50


def test_a_long_or_odd_command_keeps_what_is_short_in_its_workdir(monkeypatch):
    monkeypatch.setattr(cli, "script", lambda: "train.regression")
    own = cli.common_flags()
    flags.DEFINE_string("function", "", "", flag_values=own)
    flags.DEFINE_list("domain", "", "", flag_values=own)
    settings = cli.parse(own, ["script", "--function=sin(x)*y", "--domain=-1,1,-1,1", "--seed=1"])
    name = cli.workdir(settings).name
    assert re.fullmatch("regression-domain=-1,1,-1,1-seed=1-[0-9a-f]{8}", name)


def test_a_proposed_command_can_be_typed():
    proposed = cli.next_command("draw it", "train.plot", Path("runs/a b"), "runs/c=1,2")
    text, command = proposed.split("\n")
    assert text == "Next, draw it:"
    assert command == f"{cli.python()} -m train.plot 'runs/a b' runs/c=1,2"


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (errors.UsageError("no\n such   cut"), 2, "no such cut"),
        (errors.CommandError("diverged"), 1, "diverged"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "/x: Permission denied"),
        (OSError(errno.ENOSPC, "No space left", "/x"), 1, "/x: No space left; make room"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/x"), 2, "/x: Is a directory; choose"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "/x"), 2, "/x: File name too long"),
        (OSError(errno.ENOSPC, "No space left"), 1, "standard output: No space left"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "Too many open files"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), 1, "/x: No such file"),
        (MemoryError("Unable to allocate 9 TiB"), 2, "out of memory: MemoryError: Unable"),
        (FloatingPointError("loss is NaN in row 3"), 1, "loss is NaN in row 3"),
        (shutil.Error([("/a", "/x", "No space left")]), 1, "/x: No space left; the same command"),
    ],
)
def test_errors_end_in_one_line_and_a_code(values, monkeypatch, capsys, raised, code, line):
    def main(settings):
        raise raised

    monkeypatch.setattr(sys, "argv", ["script"])
    with pytest.raises(SystemExit) as exit_:
        cli.run(main, values, PRESETS)
    assert exit_.value.code == code
    printed = capsys.readouterr().err
    assert line in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UnicodeDecodeError("utf-8", b"no \xff [Op:X]\nmore", 3, 4, "bad"), r"no \\xff"),
        (
            tf.errors.DataLossError(None, None, "{{function_node a}} cut short [Op:B]\n"),
            "cut short",
        ),
        (
            tf.errors.NotFoundError(
                None, None, "Graph execution error:\n\nDetected at node x\ngone\n\t [[{{node y}}]]"
            ),
            "gone",
        ),
        (KeyError("name"), "KeyError: 'name'"),
        (RecursionError("maximum"), "nested too deeply"),
        (ValueError("x" * 999), "xxx$|\\.\\.\\."),
    ],
)
def test_whatever_reading_raises_is_one_line(error, line):
    with (
        pytest.raises(
            errors.DamagedError, match=rf"^/x is missing or damaged: .*{line}.*; mend it$"
        ),
        errors.reading("/x", "mend it"),
    ):
        raise error


@pytest.mark.parametrize("error", [errors.CommandError("own"), MemoryError("much")])
def test_reading_passes_on_what_is_no_damage(error):
    with pytest.raises(type(error)), errors.reading("/x", "mend it"):
        raise error


def test_the_librarys_own_errors_are_one_line(values, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script"])
    with pytest.raises(SystemExit) as exit_:
        cli.run(lambda settings: st.split(st.nets.mlp(2), at=["nowhere"]), values, PRESETS)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_bug_keeps_its_traceback(values, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script"])
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda settings: 1 / 0, values, PRESETS)
    with pytest.raises(ValueError, match="invalid literal"):
        cli.run(lambda settings: int("x"), values, PRESETS)


def test_library_errors_during_set_up_are_usage_errors():
    with pytest.raises(errors.UsageError, match="no such layer"), errors.usage_errors():
        raise ValueError("no such layer")


def test_the_default_strategy_is_mirrored_and_none_has_one_replica(values):
    settings = cli.parse(values, ["script"])
    assert isinstance(strategies.strategy(settings), tf.distribute.MirroredStrategy)
    settings = cli.parse(values, ["script", "--strategy=none"])
    assert strategies.strategy(settings).num_replicas_in_sync == 1


def test_noise_is_dropped_and_errors_are_not():
    noise = b"WARNING: All log messages before absl::InitializeLog() is called\nI0000 00:1 oneDNN\n"
    kept = b"W0000 00:1 slow\nE0000 00:1 failed call to cuInit\nTraceback\n"
    assert tf_quiet.without_noise(noise + kept) == kept


def test_scripts_and_packages_start_quietly(tmp_path):
    """A script that is a package: help on stdout, a bad flag in one line on stderr."""
    package = tmp_path / "show"
    package.mkdir()
    (package / "__main__.py").write_text(
        '"""Shows flags."""\n'
        "from train.lib.run import cli\n"
        "import tensorflow\n"
        "cli.run(lambda settings: print('ran'), cli.common_flags())\n"
    )
    root = Path(__file__).parents[3]
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "show", *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(root), "PATH": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in (["--help"], ["--sed=1"])
    ]
    (help_, noise), (nothing, line) = (run.communicate() for run in runs)
    assert [run.returncode for run in runs] == [0, 2]
    assert help_.startswith("Shows flags.")
    assert "--seed=0" in help_
    assert (noise, nothing) == ("", "")
    assert line.startswith("show: --sed is unknown: did you mean --seed?")
    assert line.count("\n") == 1


def test_whoever_reads_the_output_may_leave():
    writing = writing_to_nobody()
    code = (
        "from train.lib.run import cli\n"
        "cli.run(lambda settings: print('x', flush=True), cli.common_flags())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_another_broken_pipe_is_reported(values, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(BrokenPipeError):
        cli.run(lambda settings: os.write(writing_to_nobody(), b"x"), values)


def writing_to_nobody():
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_python_as_it_is_typed(tmp_path, monkeypatch):
    here = tmp_path / ".venv" / "bin" / "python"
    here.parent.mkdir(parents=True)
    here.write_text("")
    here.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(here))
    assert cli.python() == str(here)
    monkeypatch.chdir(tmp_path)
    assert cli.python() == ".venv/bin/python"
    monkeypatch.setenv("PATH", str(here.parent))
    assert cli.python() == "python"


def test_a_script_without_the_packages_of_its_figures_does_not_start(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.example"])
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda settings: pytest.fail("it has started"), cli.common_flags())
    assert ended.value.code == 1
    assert 'matplotlib is not installed: pip install -e ".[dev]"' in capsys.readouterr().err
