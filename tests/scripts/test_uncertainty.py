"""train.regression.uncertainty: shares of truths within intervals, and the figure."""

import json

import numpy as np
import pytest
import tensorflow as tf

from train.regression import other_functions, uncertainty


@pytest.mark.slow  # three fits
def test_the_table_and_its_files(run_script, monkeypatch, tmp_path):
    monkeypatch.setattr(uncertainty, "HIDDEN", (8,))
    monkeypatch.setattr(uncertainty, "STEPS", 15)
    arguments = ["--function=wave", "--num_points=6", f"--workdir={tmp_path}"]
    code, out, err = run_script(uncertainty, *arguments)
    assert code == 0, err
    rows = json.loads((tmp_path / "uncertainty.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["values", "sobolev"]
    for row in rows:
        for term in ("value", "slope"):
            assert 0 < row[f"{term}_68"] <= row[f"{term}_95"] <= 100
    assert (tmp_path / "band.png").stat().st_size > 10_000
    assert "mean, all, sobolev" in out


def test_an_unknown_function_is_one_line(refused):
    message = "--function=frank: expected one of ackley, beale"
    assert message in refused(uncertainty, "--function=frank")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folds=1"], "--folds=1: expected 0, or from 2 to 20 (points)"),
        (["--num_points=5", "--folds=6"], "--folds=6: expected 0, or from 2 to 5 (points)"),
        (["--function=wave", "--folds=11"], "--folds=11: expected 0, or from 2 to 10 (points)"),
    ],
)
def test_folds_that_cannot_be_leave_no_folder(arguments, message, refused):
    assert message in refused(uncertainty, *arguments)


def test_a_folder_in_the_figure_s_place_is_noticed_at_the_start(run_script, tmp_path):
    (tmp_path / "band.png").mkdir()
    code, out, err = run_script(uncertainty, f"--workdir={tmp_path}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "band.png is a folder, where a file is to be written" in err


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
