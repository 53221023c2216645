"""The run folder: who may use it, what it stores, and half-written files."""

import contextlib
import json
import os
import shutil
import time

import numpy as np
import pytest

from train.lib.run import files, metrics_csv, run_folder, summary
from train.lib.run.errors import CommandError, UsageError

FLAGS = {"seed": 0, "epochs": 3, "cuts": ["a", "b"]}


def test_a_run_stores_flags_versions_and_facts(tmp_path):
    with run_folder.Run(tmp_path / "new" / "run", FLAGS, "train.x") as run:
        run.add_facts(dataset="shapes", images=4000)
        run.write_summary({"accuracy": 0.5})
    config = json.loads((tmp_path / "new/run/config.json").read_text())
    assert config["flags"] == FLAGS
    assert config["facts"] == {"dataset": "shapes", "images": 4000}
    assert config["versions"]["keras"].startswith("3.")
    assert json.loads(run.path("summary.json").read_text()) == {"accuracy": 0.5}


def test_a_run_keeps_its_id_and_no_other_run_has_it(tmp_path):
    ids = []
    for name in ("a", "a", "b"):
        with run_folder.Run(tmp_path / name, FLAGS, "train.x") as run:
            run.add_facts()
            ids.append(run.id)
    assert ids[0] == ids[1] != ids[2]
    config = run_folder.read_config(tmp_path / "b/config.json")
    assert run_folder.of_run(config) == {"run": ids[2]}
    del config["id"]  # as in older runs
    assert run_folder.of_run(config) == {}
    files.write_json(tmp_path / "b/config.json", config)
    with run_folder.Run(tmp_path / "b", FLAGS, "train.x") as run:
        assert run.id not in ids


def test_other_code_that_resumes_a_run_is_noted_once(tmp_path, monkeypatch, capsys):
    def resumed(commit):
        monkeypatch.setattr(run_folder, "git_commit", lambda: commit)
        with run_folder.Run(tmp_path, FLAGS, "train.x") as run:
            run.add_facts()
            head = summary.head(run, what="", name="kl", value=1.0, unit="nats", seconds=1.0)
        return head, capsys.readouterr().err

    head, told = resumed("aaa")
    assert (head["commit"], told) == ("aaa", "")
    assert "resumed_with" not in head
    for _ in range(2):
        head, told = resumed("bbb")
        assert head["commit"] == "aaa"
        assert [code["commit"] for code in head["resumed_with"]] == ["bbb"]
        assert head["resumed_with"][0]["versions"] == head["versions"]
    assert told == ""
    head, told = resumed("aaa")
    assert [code["commit"] for code in head["resumed_with"]] == ["bbb", "aaa"]
    assert told.startswith(f"{tmp_path}: was run with another commit before, see resumed_with")


def test_what_is_not_a_number_is_null(tmp_path):
    content = {"best": float("nan"), "each": [1.5, (float("inf"), -2)]}
    files.write_json(tmp_path / "summary.json", content)
    text = (tmp_path / "summary.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"best": None, "each": [1.5, [None, -2]]}


def test_other_flags_are_refused_by_name(tmp_path):
    with run_folder.Run(tmp_path, FLAGS) as run:
        run.add_facts()
    with pytest.raises(UsageError, match="--epochs was 3, now 9; --seed was 0, now 1"):
        run_folder.Run(tmp_path, FLAGS | {"seed": 1, "epochs": 9})
    with run_folder.Run(tmp_path, FLAGS | {"epochs": 9}, changeable=["epochs"]) as run:
        assert run.config["flags"]["epochs"] == 9


def test_a_run_that_is_refused_before_its_facts_leaves_nothing(tmp_path):
    for folder in (tmp_path, tmp_path / "new"):
        with contextlib.suppress(UsageError), run_folder.Run(folder, FLAGS):
            raise UsageError("no such data")
        run_folder.Run(folder, FLAGS | {"seed": 1}).close()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_refused_run_leaves_no_folders_above_it(tmp_path):
    with contextlib.suppress(UsageError), run_folder.Run(tmp_path / "a" / "b" / "c", FLAGS):
        raise UsageError("no such data")
    assert not list(tmp_path.iterdir())


def test_the_folder_of_another_script_is_left_as_it_is(tmp_path):
    with run_folder.Run(tmp_path, FLAGS, "distill") as run:
        run.add_facts()
    run.path(".lock").unlink()  # as in a clone
    with pytest.raises(UsageError, match="is a run of distill, not of imagenet: choose another"):
        run_folder.Run(tmp_path, {"splits": 3}, "imagenet")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_other_data_is_refused(tmp_path):
    with run_folder.Run(tmp_path, FLAGS) as run:
        run.add_facts(images=4000)
    with (
        run_folder.Run(tmp_path, FLAGS) as run,
        pytest.raises(UsageError, match="images=4000, now it is 10"),
    ):
        run.add_facts(images=10)


def test_a_notice_may_have_other_words(tmp_path):
    for notice in ("NO ImageNet IS PREPARED in /data: drawn", "NO ImageNet IS PREPARED: drawn"):
        with run_folder.Run(tmp_path, FLAGS) as run:
            run.add_facts(dataset={"name": "shapes", "notice": notice})
    with (
        run_folder.Run(tmp_path, FLAGS) as run,
        pytest.raises(UsageError, match="started with dataset="),
    ):
        run.add_facts(dataset={"name": "digits", "notice": notice})


def test_a_second_run_on_the_folder_is_refused(tmp_path):
    with (
        run_folder.Run(tmp_path, FLAGS),
        pytest.raises(UsageError, match=rf"in use by another run \(process {os.getpid()}\)"),
    ):
        run_folder.Run(tmp_path, FLAGS)
    run_folder.Run(tmp_path, FLAGS).close()


def test_folders_of_something_else_are_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"no config\.json"):
        run_folder.Run(tmp_path, FLAGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="cannot make the folder"):
        run_folder.Run(tmp_path / "thesis.tex", FLAGS)


def test_unwritable_folders_are_refused(tmp_path):
    if os.geteuid() == 0:  # No folder is closed to root but those of the kernel.
        folder = "/proc/run"
    else:
        folder = tmp_path / "run"
        tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot make the folder"):
        run_folder.Run(folder, FLAGS)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99, "flags": {}}'])
def test_unreadable_configs_are_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match="not a config of format 1"):
        run_folder.Run(tmp_path, FLAGS)


def test_a_folder_in_place_of_the_config_is_refused(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(UsageError, match="not a config of format 1"):
        run_folder.Run(tmp_path, FLAGS)


@pytest.mark.parametrize(
    "text", ["step,loss\nx,1\n", "step,loss\n1,y\n", "loss\n1\n", "step\n1,2\n", "step\n\0\n"]
)
def test_a_damaged_history_is_refused(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(UsageError, match=r"metrics\.csv is damaged"):
        metrics_csv.History(tmp_path / "metrics.csv", step=10)
    assert (tmp_path / "metrics.csv").read_text() == text


def test_half_written_files_never_take_the_name(tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    with contextlib.suppress(ZeroDivisionError), files.replacing(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("figure.png", b"old")]


def test_a_start_removes_what_a_killed_run_left(tmp_path):
    (tmp_path / ".config.json.tmp").touch()
    with run_folder.Run(tmp_path, FLAGS) as run:
        assert [path.name for path in run.folder.iterdir()] == [".lock"]


def row(step, loss=0.5):
    return {"epoch": step // 10, "step": step, "loss": loss}


def test_history_drops_half_lines_and_rows_beyond_the_step(tmp_path):
    path = tmp_path / "metrics.csv"
    written = metrics_csv.History(path)
    for step in (10, 20, 30):
        written.append(row(step))
    with open(path, "a") as file:
        file.write("4,40,0.")
    resumed = metrics_csv.History(path, step=20)
    resumed.append(row(30, loss=0.25))
    assert path.read_text() == "epoch,step,loss\n1,10,0.5\n2,20,0.5\n3,30,0.25\n"


def test_rows_stay_until_a_new_one_takes_their_place(tmp_path, capsys):
    """A resumed run may be refused, or killed, before its first row."""
    path = tmp_path / "metrics.csv"
    written = metrics_csv.History(path)
    for step in (10, 20, 30):
        written.append(row(step))
    text = path.read_text()
    resumed = metrics_csv.History(path, step=0)
    assert "3 rows beyond step 0, where the run resumes" in capsys.readouterr().err
    assert (resumed.rows, path.read_text()) == ([], text)
    resumed.append(row(10, loss=0.25))
    resumed.append(row(20, loss=0.2))
    assert path.read_text() == "epoch,step,loss\n1,10,0.25\n2,20,0.2\n"


def test_history_keeps_its_columns(tmp_path):
    table = metrics_csv.History(tmp_path / "metrics.csv")
    table.append(row(10))
    with pytest.raises(UsageError, match="has columns"):
        table.append(row(20) | {"accuracy": 1})


def test_a_history_cut_in_its_header_starts_again(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,st")
    table = metrics_csv.History(tmp_path / "metrics.csv", step=10)
    table.append(row(20))
    assert metrics_csv.read_rows(table.path) == [{"epoch": 2, "step": 20, "loss": 0.5}]


@pytest.mark.parametrize(
    ("name", "value"),
    [("facts", None), ("facts", []), ("flags", [["a", 1]]), ("commit", []), ("versions", 1)],
)
def test_a_config_that_lacks_a_part_is_refused(tmp_path, name, value):
    with run_folder.Run(tmp_path, FLAGS) as run:
        run.add_facts(size=1)
    config = json.loads((tmp_path / "config.json").read_text()) | {name: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=rf"not a config of format 1: '{name}' is"):
        run_folder.Run(tmp_path, FLAGS)


def test_text_of_another_encoding_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-16")
    with pytest.raises(ValueError, match="it is not UTF-8 text"):
        files.read_json(tmp_path / "config.json")


def test_a_config_that_is_nested_deeply_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="not a config of format 1: it is nested too deeply"):
        run_folder.Run(tmp_path, FLAGS)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(UsageError, match="not an ordinary file"):
        run_folder.Run(tmp_path, FLAGS)


@pytest.mark.parametrize("again", [False, True], ids=["removed", "replaced"])
def test_a_folder_that_is_removed_ends_the_run(tmp_path, again):
    folder = tmp_path / "run"
    run = run_folder.Run(folder, FLAGS)
    run.add_facts(size=1)
    shutil.rmtree(folder)
    other = run_folder.Run(folder, FLAGS) if again else None
    for write in (lambda: run.add_facts(size=1), lambda: run.write_summary({})):
        with pytest.raises(CommandError, match="was removed or replaced") as error:
            write()
        assert error.value.code == 1
    run.close()
    assert folder.exists() == again
    if other:
        assert (folder / ".lock").exists()  # the other run's
        other.close()


def test_a_clock_before_1980_still_saves(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 86400.0)
    monkeypatch.setattr(time, "localtime", lambda *_: time.struct_time([1970, 1, 2] + [0] * 6))
    arrays = {"a": np.arange(3.0), "b/c": np.zeros([2, 0], "int8")}
    for compress in (False, True):
        with files.replacing(tmp_path / "a.npz") as file:
            files.write_npz(file, arrays, {"facts.json": "{}"}, compress)
        back = files.read_npz(tmp_path / "a.npz", leave_out=("facts.json",))
        assert back.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array)
            assert back[name].dtype == array.dtype


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000])
def test_a_name_that_is_too_long_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"cannot make the folder .*too long"):
        run_folder.Run(tmp_path / name, FLAGS)
