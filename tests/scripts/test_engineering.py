"""The engineering suite: its problems, its data and its measures."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from train.bench import engineering as engineering_bench
from train.lib.run.errors import DamagedError, UsageError
from train.lib.run.settings import Settings
from train.regression import __main__ as regression
from train.regression import engineering
from train.regression.problems import PROBLEMS


def test_values_are_those_of_the_published_formulas():
    x = np.array([[0.1, 25000, 90000, 1050, 90, 760, 1400, 11000.0]])
    ratio = np.log(25000 / 0.1)
    leak = 2 * 1400 * 90000 / (ratio * 0.1**2 * 11000)
    flow = 2 * np.pi * 90000 * (1050 - 760) / (ratio * (1 + leak + 90000 / 90))
    assert float(PROBLEMS["water_flow"](tf.constant(x))[0, 0]) == pytest.approx(flow, rel=1e-12)
    arm = np.array([[1.0, 0.0, 1.0, np.pi / 2, 0.0, 0.0, 0.0, 0.0]])
    assert float(PROBLEMS["robot_arm"](tf.constant(arm))[0, 0]) == pytest.approx(2**0.5)
    beam = np.array([[0.02, 0.5, 0.6] * 3])  # one beam of three equal parts
    tip = 50e3 / (3 * 200e9) * 12 / (0.02 * 0.5**3) * 1.8**3
    assert float(PROBLEMS["cantilever_beam"](tf.constant(beam))[0, 0]) == pytest.approx(tip)
    ones = np.ones([1, 8])
    assert float(PROBLEMS["rosenbrock"](tf.constant(ones))[0, 0]) == 0


@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients_are_those_of_finite_differences(name):
    problem = PROBLEMS[name]
    points = problem.points(4, (1,))
    low, high = np.array(problem.low), np.array(problem.high)
    assert ((points.x >= low) & (points.x <= high)).all()
    for i in range(problem.inputs):
        step = 1e-5 * (high - low) * np.eye(problem.inputs)[i]
        up, down = (problem(tf.constant(points.x + s * step)).numpy() for s in (1, -1))
        slope = (up - down)[:, 0] / (2 * step[i])
        size = np.abs(points.labels[0]).max() / (high - low)[i]
        np.testing.assert_allclose(
            points.labels[1][:, 0, i], slope, rtol=1e-4, atol=1e-7 * float(size)
        )


def test_noise_is_a_share_of_each_slope():
    _, _, exact = engineering.data("wing_weight", 30, 0.0, 0)
    _, y, noisy = engineering.data("wing_weight", 30, 0.1, 0)
    shares = np.std(noisy - exact, 0) / np.sqrt(np.mean(exact**2, 0))
    assert y.shape == (300, 1)
    np.testing.assert_allclose(shares, 0.1, rtol=0.2)


def test_errors_are_relative():
    test = engineering.test_points("robot_arm")
    value, gradient = test.labels
    assert engineering.errors("robot_arm", value, gradient, test)["value_error"] == 0
    mean = engineering.errors("robot_arm", np.full_like(value, value.mean()), 0 * gradient, test)
    assert mean["value_error"] == pytest.approx(1)
    assert mean["gradient_error"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"seed": 1}, "it is the file of seed 1, expected that of seed 0"),
        ({"problem": "robot_arm"}, "of problem robot_arm, expected that of problem wing_weight"),
        ({"value_error": "low"}, "'value_error' is 'low', expected int or float"),
        ({"seconds": None}, "'seconds' is None, expected int or float"),
        ({"value_error": -1.0}, "value_error is -1.0, expected at least 0"),
    ],
)
def test_the_file_of_another_cell_is_noticed(change, message, tmp_path):
    cell = engineering.Cell("wing_weight", 2, 0.0, 0, "surrogate")
    row = dataclasses.asdict(cell) | dict.fromkeys(engineering.MEASURES, 0.5) | {"net": "mlp"}
    (tmp_path / "cell.json").write_text(json.dumps(row | change))
    if message is None:
        assert engineering.read_row(tmp_path / "cell.json", cell) == row
    else:
        with pytest.raises(UsageError, match=message):
            engineering.read_row(tmp_path / "cell.json", cell)


@pytest.mark.parametrize("lost", ["points_per_input", "noise", "seed"])
def test_a_file_that_does_not_say_which_cell_it_is_of_is_damaged(lost, tmp_path):
    cell = engineering.Cell("wing_weight", 2, 0.0, 0, "surrogate")
    row = measured(cell)
    del row[lost]
    (tmp_path / "cell.json").write_text(json.dumps(row))
    with pytest.raises(DamagedError, match=f"it lacks '{lost}'; its command fits it again"):
        engineering.read_row(tmp_path / "cell.json", cell)


def test_bars_count_the_problems_that_all_of_their_learners_have_solved():
    value = {("a", engineering_bench.OURS): 0.1, ("b", engineering_bench.OURS): 0.2}
    value |= {
        ("a", "JENN"): 0.5,
        ("a", "SMT GENN"): 0.3,
        ("b", "JENN"): 1.0,
        ("b", "SMT GENN"): 0.7,
    }
    value |= {("a", "SMT GEKPLS"): 0.1}
    met = {
        name.split(" of ", 1)[1]: number for name, number in engineering_bench.bars_met(value, 30)
    }
    assert met == {
        "SMT GEKPLS's (bar 5 of 6)": 1,
        "JENN and SMT GENN's (bar 6 of 6)": 1,  # a: 0.33, b: 0.29
    }


def test_errors_with_slopes_are_divided_by_those_with_values_only():
    found = [
        {"problem": "a", "points_per_input": size, "noise": noise, "fit": fit, "value_error": error}
        for size, noise, fit, error in (
            (10, 0.0, "surrogate", 0.1),
            (10, 0.2, "surrogate", 0.5),
            (10, 0.0, "surrogate_values", 0.4),
            (30, 0.0, "surrogate", 0.3),
            (30, 0.0, "surrogate_values", 0.3),
        )
    ]
    assert engineering.errors_over_values_only(found) == {"0.0": {"a": 0.25}, "0.2": {"a": 1.25}}
    assert engineering.errors_over_values_only(found[:2]) == {}


TINY = ["--suite=engineering", "--problem=rosenbrock", "--fit=surrogate", "--slope_noise=0.1"]
TINY += ["--points_per_input=2", "--num_seeds=1"]


def measured(cell):
    scores = dict.fromkeys(engineering.MEASURES, 0.5)
    return dataclasses.asdict(cell) | scores | {"net": "kernel"}


def test_a_damaged_cell_is_fitted_again_and_no_other(run_script, tmp_path, monkeypatch):
    fitted = []
    monkeypatch.setattr(
        engineering, "measure", lambda cell: fitted.append(cell.noise) or measured(cell)
    )
    assert run_script(regression, *TINY, f"--workdir={tmp_path}")[0] == 0
    assert fitted == [0.0, 0.1]
    damaged = tmp_path / "cells" / "rosenbrock-2-0.1-0-surrogate.json"
    damaged.write_text("{")
    code, _, err = run_script(regression, *TINY, f"--workdir={tmp_path}")
    assert code == 0, err
    assert f"{damaged} cannot be read: " in err
    assert fitted == [0.0, 0.1, 0.1]
    damaged.unlink()
    damaged.mkdir()
    code, _, err = run_script(regression, *TINY, f"--workdir={tmp_path}")
    assert code == 2
    assert f"{damaged} is a folder, where a file is to be written" in err


def test_a_run_names_its_folder_first_and_the_next_command_last(run_script, tmp_path, monkeypatch):
    monkeypatch.setattr(engineering, "measure", measured)
    code, out, err = run_script(regression, *TINY, f"--workdir={tmp_path}")
    assert code == 0, err
    assert out.startswith(f"2 fits of functions of 6 to 10 inputs, in {tmp_path}\n")
    assert f" -m train.plot {tmp_path} RUN\n" in out


def test_the_headline_is_of_exact_slopes(run_script, tmp_path, monkeypatch):
    monkeypatch.setattr(
        engineering, "measure", lambda cell: measured(cell) | {"value_error": 0.25 + cell.noise}
    )
    for noises in ("0.1", "0.1,0.2,0.3"):
        flags = [*TINY, f"--slope_noise={noises}", f"--workdir={tmp_path}"]
        assert run_script(regression, *flags)[0] == 0
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert summary["headline"]["value"] == 0.25
        assert "exact slopes" in summary["what"]


def settings(typed=(), **changes):
    flags = {"seed": 0, "num_seeds": 1, "problem": ["rosenbrock"], "points_per_input": ["10"]}
    flags |= {"slope_noise": ["0.1"], "fit": ["surrogate_values"], "num_workers": 9}
    return Settings(flags | changes, frozenset(typed))


def test_only_what_is_chosen_runs():
    cell = engineering.Cell("rosenbrock", 10, 0.0, 0, "surrogate_values")
    assert engineering.all_cells(settings()) == [cell]


def test_slopes_have_noise_at_the_fewest_points():
    sizes, noises = ["30", "10", "30"], ["0.1", "0.1"]
    cells = engineering.all_cells(
        settings(fit=["surrogate"], points_per_input=sizes, slope_noise=noises)
    )
    assert [(c.points_per_input, c.noise) for c in cells] == [(10, 0.0), (30, 0.0), (10, 0.1)]


def test_noises_that_make_no_sense_are_refused():
    for wrong in ("-0.1", "nan", "much"):
        with pytest.raises(UsageError, match=f"--slope_noise={wrong}: expected numbers above 0"):
            engineering.slope_noises(settings(slope_noise=[wrong]))
    with pytest.raises(UsageError, match="--slope_noise is for --fit=surrogate"):
        engineering.slope_noises(settings(typed=["slope_noise"]))


ENGINEERING = "--suite=engineering"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([ENGINEERING, "--preset=paper"], "--preset is not for --suite=engineering"),
        ([ENGINEERING, "--function=ackley"], "--function is not for --suite=engineering"),
        ([ENGINEERING, "--num_workers=2"], "--num_workers is not for --suite=engineering"),
        (["--problem=robot_arm"], "--problem is not for --suite=functions, only for --suite=eng"),
        (["--slope_noise=x", "--points_per_input=-3"], "--points_per_input is not for --suite"),
        ([ENGINEERING, "--seed=4294967295", "--num_seeds=2"], "the last seed is 4294967296"),
        ([ENGINEERING, "--num_seeds=2000000000"], "--num_seeds=2000000000 needs"),
        ([ENGINEERING, "--points_per_input=1000000000"], "--points_per_input=1000000000 needs"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, refused):
    assert message in refused(regression, *arguments)
