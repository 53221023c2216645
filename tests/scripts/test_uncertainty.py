"""train.regression.uncertainty: shares of truths within intervals, and the figure."""

import json

import numpy as np
import pytest
import tensorflow as tf

from train.lib.run import cli
from train.regression import other_functions, uncertainty


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["uncertainty", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.run(uncertainty.main, uncertainty.FLAGS)
    return ended.value.code


@pytest.mark.slow  # three fits
def test_the_table_and_its_files(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(uncertainty, "HIDDEN", (8,))
    monkeypatch.setattr(uncertainty, "STEPS", 15)
    arguments = ["--function=wave", "--num_points=6", f"--workdir={tmp_path}"]
    assert not run(monkeypatch, *arguments)
    rows = json.loads((tmp_path / "uncertainty.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["values", "sobolev"]
    for row in rows:
        for term in ("value", "slope"):
            assert 0 < row[f"{term}_68"] <= row[f"{term}_95"] <= 100
    assert (tmp_path / "band.png").stat().st_size > 10_000
    assert "mean, all, sobolev" in capsys.readouterr().out


def test_an_unknown_function_is_one_line(monkeypatch, capsys):
    assert run(monkeypatch, "--function=frank") == 2
    assert "--function=frank: expected one of ackley, beale" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folds=1"], "--folds=1: expected 0, or from 2 to 20 (points)"),
        (["--num_points=5", "--folds=6"], "--folds=6: expected 0, or from 2 to 5 (points)"),
        (["--function=wave", "--folds=11"], "--folds=11: expected 0, or from 2 to 10 (points)"),
    ],
)
def test_folds_that_cannot_be_leave_no_folder(arguments, message, monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, *arguments, f"--workdir={tmp_path / 'run'}") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_in_the_figure_s_place_is_noticed_at_the_start(monkeypatch, capsys, tmp_path):
    (tmp_path / "band.png").mkdir()
    assert run(monkeypatch, f"--workdir={tmp_path}") == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "band.png is a folder, where a file is to be written" in captured.err


def test_the_other_functions_are_those_of_their_sources():
    """Minima of Branin and Hartmann, Franke's and Friedman's values at a corner."""
    known = {
        "branin": ([(np.pi + 5) / 15, 2.275 / 15], 0.397887),
        "hartmann3": ([0.114614, 0.555649, 0.852547], -3.86278),
        "franke": ([0.0, 0.0], 0.766421),
        "friedman": ([0.0] * 5, 5.0),
    }
    for name, (x, value) in known.items():
        other = other_functions.OTHERS[name]
        found = other.f(tf.constant([x], tf.float64))
        assert found.shape == (1, 1)
        assert found.numpy().item() == pytest.approx(value, abs=1e-4)
