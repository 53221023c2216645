"""train.plot over runs of every kind, whole and damaged, that are written here by hand."""

import json
import subprocess
import sys

import pytest

from tests.scripts.images.test_table1 import write
from train import plot
from train.lib.run import cli

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
@pytest.mark.parametrize("damage", ["missing", "folder", "binary", "garbage", "word", "column"])
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
    with pytest.raises(cli.UsageError, match="/b") as error:
        plot.main([str(tmp_path / name) for name in "abc"])
    assert "\n" not in str(error.value)
    drawn = sorted(path.relative_to(tmp_path).parts for path in tmp_path.rglob("*.png"))
    assert drawn == [("a", FIGURES[script]), ("c", FIGURES[script])]


@pytest.mark.parametrize("script", ROWS)
def test_figures_of_a_run_that_is_not_to_be_touched(script, tmp_path):
    write_rows(tmp_path / "a", script)
    plot.main([str(tmp_path / "a")], tmp_path / "out")
    assert [*(tmp_path / "out").rglob("*.*")] == [tmp_path / "out" / "a" / FIGURES[script]]
    assert sorted(path.name for path in (tmp_path / "a").iterdir())[0] == "config.json"


def test_a_flag_that_a_figure_needs(tmp_path):
    write_rows(tmp_path / "a", "distill")
    (tmp_path / "a" / "config.json").write_text('{"format": 1, "script": "distill", "flags": {}}')
    with pytest.raises(cli.UsageError, match=r"config\.json is damaged or not a config of"):
        plot.main([str(tmp_path / "a")])


def test_what_is_no_folder_of_a_run(tmp_path):
    (tmp_path / "file").touch()
    for path, message in (("nothing", "does not exist"), ("file", "is a file"), ("", "config")):
        with pytest.raises(cli.UsageError, match=message):
            plot.main([str(tmp_path / path)])


@pytest.mark.slow
def test_the_command_line(tmp_path):
    command = [sys.executable, "-m", "train.plot", str(tmp_path / "nothing")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "does not exist" in ended.stderr
