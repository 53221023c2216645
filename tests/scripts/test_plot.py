"""train.plot over runs of every kind, whole and damaged, that are written here by hand."""

import json
import subprocess
import sys

import pytest

from tests.support.cases import slow
from tests.support.image_runs import write
from train import plot
from train.lib.run import errors

FLAGS = {"game": "pong", "preset": "modern", "domain": None, "seed": 0}
ROWS = {
    "distill": "percent,method,step,test_kl,test_action_error\n"
    "1.0,regular,1,0.2,0.5\n5.0,sobolev,1,0.1,0.5\n",
    "regression": "function,size,method,test_mse,gradient_mse\n"
    "booth,3,values,2.0,3.0\nbooth,3,sobolev,1.0,2.0\n",
    "teacher": "step,training_score,score\n1,nan,2.0\n",
}
FIGURES = {"distill": "figure4.png", "regression": "figure2.png", "teacher": "curve.png"}


def write_rows(folder, script, text=None):
    """A finished run that gives a figure."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"format": 1, "script": script, "flags": FLAGS}))
    (folder / "summary.json").write_text("{}")
    (folder / "metrics.csv").write_text(ROWS[script] if text is None else text)


def test_the_table_of_one_run_replaces_none(tmp_path, capsys):
    write_rows(tmp_path / "d", "teacher")
    write(tmp_path / "a")
    plot.main([str(tmp_path / "d"), str(tmp_path / "a")])
    assert "Printed only" in capsys.readouterr().out
    assert not (tmp_path / "table1.md").exists()


@pytest.mark.parametrize("script", ROWS)
@pytest.mark.parametrize(
    "damage", ["missing", "column", *slow("folder", "binary", "garbage", "word")]
)
def test_one_damaged_run_leaves_the_others(script, damage, tmp_path, capsys):
    lines = ROWS[script].splitlines()
    damaged = {
        "garbage": "garbage\n",
        "word": ROWS[script].replace("2", "two"),
        "column": "\n".join(line.rpartition(",")[0] for line in lines) + "\n",
    }
    for name in "abc":
        write_rows(tmp_path / name, script, damaged.get(damage) if name == "b" else None)
    path = tmp_path / "b" / "metrics.csv"
    if damage == "binary":
        path.write_bytes(b"\xff\xfe\n")
    elif damage in ("missing", "folder"):
        path.unlink()
    if damage == "folder":
        path.mkdir()
        (path / "file").touch()
    plot.main([str(tmp_path / name) for name in "abc"])
    err = capsys.readouterr().err
    assert err.startswith("skipped: ")
    assert "/b" in err
    assert err.count("\n") == 1
    drawn = sorted(path.relative_to(tmp_path).parts for path in tmp_path.rglob("*.png"))
    assert drawn == [("a", FIGURES[script]), ("c", FIGURES[script])]


@pytest.mark.parametrize("script", ROWS)
def test_nothing_drawn_is_an_error_of_one_line(script, tmp_path):
    for name in "ab":
        write_rows(tmp_path / name, script, "garbage\n")
    with pytest.raises(errors.UsageError, match=r"/a.*/b") as error:
        plot.main([str(tmp_path / name) for name in "ab"])
    assert "\n" not in str(error.value)


def test_a_run_whose_figure_cannot_be_written_leaves_the_others(tmp_path, capsys):
    write_rows(tmp_path / "a", "regression")
    (tmp_path / "a" / "figure2.png").mkdir()
    write_rows(tmp_path / "b", "teacher")
    plot.main([str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "none")])
    out, err = capsys.readouterr()
    assert "b/curve.png" in out
    assert "a cannot be drawn: " in err
    assert "none does not exist" in err


def test_a_recording_and_what_is_no_run_among_runs(tmp_path, capsys):
    """One line each; the others are drawn."""
    write_rows(tmp_path / "a", "regression")
    write_rows(tmp_path / "b", "regression")
    (tmp_path / "b" / "summary.json").unlink()
    for name, script in (("c", "record"), ("d", "cluster")):
        (tmp_path / name).mkdir()
        config = {"format": 1, "script": script, "flags": {}}
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        (tmp_path / name / "summary.json").write_text("{}")
    (tmp_path / "e").mkdir()
    plot.main([str(tmp_path / name) for name in "abcde"])
    assert (tmp_path / "a" / "figure2.png").exists()
    lines = capsys.readouterr().err.splitlines()
    for line, (name, reason) in zip(
        sorted(lines),
        [
            ("b", "not finished"),
            ("c", "no figure"),
            ("d", "run of train.cluster"),
            ("e", "not a run"),
        ],
        strict=True,
    ):
        assert line.startswith(f"skipped: {tmp_path / name} ")
        assert reason in line


def test_runs_of_one_script_are_compared(tmp_path, capsys):
    """Flags that differ, and the headline number of a summary with the common head or without."""
    for name, score in (("a", 3.0), ("b", 400)):
        (tmp_path / name).mkdir()
        flags = {"game": "pong", "num_steps": 10, "seed": ord(name) - ord("a")}
        if name == "b":
            flags = {"game": "pong", "frames": 20, "seed": 1}  # as before the new names
        config = {"format": 1, "script": "record", "flags": flags}
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        summary = {"headline": {"name": "score", "value": score, "unit": "points"}}
        summary = summary if name == "a" else {"mean_score": score}
        (tmp_path / name / "summary.json").write_text(json.dumps(summary))
    write_rows(tmp_path / "c", "teacher")  # alone: not compared
    plot.main([str(tmp_path / name) for name in "abc"])
    out = capsys.readouterr().out.splitlines()
    start = out.index("2 runs of train.record")
    assert [line.split() for line in out[start + 1 :]] == [
        ["run", "num_steps", "seed", "score,", "points"],
        ["a", "10", "0", "3"],
        ["b", "20", "1", "400"],
    ]


@pytest.mark.parametrize("script", ROWS)
def test_with_a_workdir_the_folder_of_a_run_is_left_as_it_is(script, tmp_path):
    write_rows(tmp_path / "a", script)
    plot.main([str(tmp_path / "a")], tmp_path / "out")
    assert [*(tmp_path / "out").rglob("*.*")] == [tmp_path / "out" / "a" / FIGURES[script]]
    files = ["config.json", "metrics.csv", "summary.json"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == files


def test_a_run_without_a_flag_that_its_figure_needs_is_refused(tmp_path):
    write_rows(tmp_path / "a", "distill")
    (tmp_path / "a" / "config.json").write_text('{"format": 1, "script": "distill", "flags": {}}')
    with pytest.raises(errors.UsageError, match=r"config\.json is damaged or not a config of"):
        plot.main([str(tmp_path / "a")])


def test_what_is_no_folder_of_a_run_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path, message in (("nothing", "does not exist"), ("file", "got the file"), ("", "config")):
        with pytest.raises(errors.UsageError, match=message):
            plot.main([str(tmp_path / path)])


@pytest.mark.slow
def test_the_command_line_says_in_one_line_what_is_missing(tmp_path):
    command = [sys.executable, "-m", "train.plot", str(tmp_path / "nothing")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "does not exist" in ended.stderr


def test_a_run_that_is_typed_twice_counts_once(tmp_path, capsys):
    write(tmp_path / "a")
    plot.main([tmp_path / "a"])
    once = capsys.readouterr().out
    (tmp_path / "link").symlink_to("a")
    plot.main([tmp_path / "a", tmp_path / "." / "a", tmp_path / "link"])
    assert capsys.readouterr().out == once


def test_runs_of_one_name_are_not_drawn_over_each_other(tmp_path, capsys):
    for folder in "ab":
        write_rows(tmp_path / folder / "run", "teacher")
    plot.main([tmp_path / "a" / "run", tmp_path / "b" / "run"], tmp_path / "out")
    assert f"{tmp_path}/b/run would be drawn over {tmp_path}/a/run" in capsys.readouterr().err


def test_a_run_that_is_typed_by_dots_is_drawn_into_the_workdir(tmp_path, monkeypatch):
    write_rows(tmp_path / "run", "teacher")
    (tmp_path / "run" / "checkpoints").mkdir()
    for here, typed in (("run", "."), ("run/checkpoints", "..")):
        monkeypatch.chdir(tmp_path / here)
        out = tmp_path / "out" / here
        plot.main([typed], out)
        assert [*tmp_path.rglob("*.png")] == [out / "run" / "curve.png"]
        (out / "run" / "curve.png").unlink()
