"""Section 4.1's functions, and its script in a tiny configuration."""

import csv
import functools
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from tests.support.cases import slow
from train import plot
from train.lib.run import cli, errors, old_flags
from train.regression import __main__ as regression
from train.regression import functions, recipes, table

TINY = ["--num_workers=0", "--num_points=6", "--num_seeds=1", "--steps=3", "--hidden=4"]


@pytest.fixture
def run(run_script, monkeypatch):
    monkeypatch.setattr(recipes, "TEST_POINTS", 50)
    return functools.partial(run_script, regression)


@pytest.mark.parametrize(
    ("name", "x", "y", "value"),
    [
        ("ackley", 0, 0, 0),
        ("ackley", 1, 0, 20 - 20 * np.exp(-0.2 * 0.5**0.5)),
        ("beale", 3, 0.5, 0),
        ("beale", 1, 2, 2.5**2 + 5.25**2 + 9.625**2),
        ("booth", 1, 3, 0),
        ("booth", 0, 0, 74),
        ("bukin", -10, 1, 0),
        ("bukin", -14, 0, 140.04),
        ("mccormick", 0, 0, 1),
        ("mccormick", -0.54719, -1.54719, -1.9132),
        ("rosenbrock", 1, 1, 0),
        ("rosenbrock", 0, 2, 401),
        ("styblinski_tang", -2.903534, -2.903534, -78.33233),
        ("styblinski_tang", 1, 2, 0.5 * (-10 + 16 - 64 + 10)),
    ],
)
def test_values_by_hand(name, x, y, value):
    f = functions.SEVEN[name]
    answer = f(tf.constant([[x, y]], tf.float64))
    assert float(answer[0, 0]) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("name", functions.SEVEN)
def test_gradients_are_those_of_finite_differences(name):
    f = functions.SEVEN[name]
    points = functions.labeled_points(f, 200, seed=(0,))
    low, high = np.reshape(f.domain, [2, 2]).T
    assert ((points.x >= low) & (points.x <= high)).all()
    y, dy = points.labels
    np.testing.assert_array_equal(y, f(tf.constant(points.x)))
    for i, step in enumerate(1e-5 * np.eye(2)):
        difference = (f(tf.constant(points.x + step)) - f(tf.constant(points.x - step))) / 2e-5
        np.testing.assert_allclose(dy[:, :, i], difference, rtol=1e-4, atol=1e-4)


def test_on_bukins_ridge_the_gradient_is_the_middle_of_its_sides():
    x = tf.constant([[-12.0, 1.44]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = functions.SEVEN["bukin"](x)
    np.testing.assert_array_equal(tape.gradient(y, x), [[-0.01, 0.0]])  # of 0.01 |x + 10| alone


def test_medians_and_counts_by_hand():
    errors = {"values": [1.0, 9.0, 2.0], "sobolev": [8.0, 0.5, 1.0]}
    rows = [
        {"function": "f", "size": "20", "method": m, "test_mse": e, "gradient_mse": 2 * e}
        for m, each in errors.items()
        for e in each
    ]
    medians = table.medians(rows)
    assert [m["test_mse"] for m in medians] == [[1.0, 0.5, 8.0], [2.0, 1.0, 9.0]]
    assert [m["gradient_mse"][0] for m in medians] == [2.0, 4.0]
    assert table.sobolev_lower(medians) == {20: [1, 1]}
    assert "(0.5 to 8)" in table.text(medians)


@pytest.mark.parametrize("preset", ["modern", *slow("paper")])
def test_a_run_ends_with_table_and_figures_and_goes_on_where_it_stopped(run, tmp_path, preset):
    arguments = [*TINY, "--function=bukin", f"--preset={preset}", f"--workdir={tmp_path}"]
    code, out, err = run(*arguments)
    assert code == 0, err
    assert out.startswith(f"2 nets, preset {preset}, in {tmp_path}\n")
    assert "0:00:00 left" in out
    assert "points: Sobolev has the lower median test MSE on" in out
    assert f"Next, compare it with other runs:\n{cli.python()} -m train.plot {tmp_path}" in out
    for name in ("figure2.png", "surfaces-bukin.png"):
        assert (tmp_path / name).stat().st_size > 5_000
    before = (tmp_path / "metrics.csv").read_text()
    with open(tmp_path / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert all(float(row["test_mse"]) > 0 for row in rows)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert len(summary["medians"]) == 2
    assert list(summary)[:3] == ["script", "what", "headline"]
    assert summary["headline"]["name"] == "sobolev_lower"
    assert summary["headline"]["unit"] == "of 1 cells"
    assert summary["headline"]["value"] == summary["sobolev_lower"]["6"][0]

    (tmp_path / "nets" / "bukin-6-sobolev-0.npz").unlink()  # as if killed before it
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "1 of 2 nets are done" in out
    without_seconds = [line.rpartition(",")[0] for line in before.splitlines()]
    after = (tmp_path / "metrics.csv").read_text().splitlines()
    assert [line.rpartition(",")[0] for line in after] == without_seconds

    (tmp_path / "figure2.png").unlink()
    plot.main([str(tmp_path)])
    assert (tmp_path / "figure2.png").exists()

    config = json.loads((tmp_path / "config.json").read_text())
    for old, new in old_flags.NAMES["regression"].items():
        config["flags"][old] = config["flags"].pop(new)
    (tmp_path / "config.json").write_text(json.dumps(config))  # as it was before the new names
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "2 of 2 nets are done" in out
    flags = json.loads((tmp_path / "config.json").read_text())["flags"]
    assert flags["num_points"] == ["6"]
    assert "sizes" not in flags


def test_the_preset_paper_takes_the_steps_that_were_typed(monkeypatch):
    monkeypatch.setattr(recipes, "STEPS_PER_EXECUTION", 4)
    points = functions.labeled_points(functions.SEVEN["booth"], 5, seed=(0,))
    model = recipes.paper(points.x, points.labels[:1], hidden=[2], steps=6, batch_size=5)
    assert int(model.optimizer.iterations) == 6


def test_a_function_of_ones_own(run, tmp_path):
    arguments = ["--function=sin(x)*y", "--domain=-1,1,-1,1", f"--workdir={tmp_path}"]
    small = ["--num_workers=0", "--num_points=10", "--num_seeds=1", "--steps=40", "--hidden=16"]
    code, out, err = run(*small, *arguments)
    assert code == 0, err
    assert "lower median test MSE on 1 of 1" in out
    assert len(list(tmp_path.glob("surfaces-sin_x_y-*.png"))) == 1


def test_the_preset_surrogate_is_fit_surrogate(run, tmp_path):
    small = ["--num_workers=0", "--num_points=10", "--num_seeds=1", "--function=booth"]
    code, _, err = run(*small, "--preset=surrogate", f"--workdir={tmp_path}")
    assert code == 0, err
    with open(tmp_path / "metrics.csv") as file:
        rows = {row["method"]: float(row["test_mse"]) for row in csv.DictReader(file)}
    points = functions.labeled_points(functions.SEVEN["booth"], 10, seed=(0, 10))
    model = st.fit_surrogate(points.x, points.labels, seed=0)
    test = recipes.test_points(functions.SEVEN["booth"])
    assert rows["sobolev"] == pytest.approx(recipes.mean_squared_errors(model, test)[0], rel=1e-6)
    assert rows["sobolev"] < rows["values"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--function=import os"], "does not parse"),
        (["--function=ackly"], "expected one of ackley"),
        (["--function=x*y"], "--domain=: expected four numbers"),
        (["--function=x*y", "--domain=1,-1,0,1"], "expected x from < x to"),
        (["--function=x*y", "--domain=0,1,2"], "expected four numbers"),
        (["--function=x*y", "--domain=0,nan,0,1"], "expected four numbers"),
        (["--function=log(x)", "--domain=0,1,0,1"], "is not finite at x=0, y=0"),
        (["--domain=0,1,0,1"], "the seven have their own"),
        (["--num_points=20,0"], "--num_points=20,0: expected whole numbers of at least 1"),
        (["--num_points="], "--num_points=: expected whole numbers"),
        (["--hidden=a"], "--hidden=a: expected whole numbers"),
        (["--num_seeds=0"], "--num_seeds=0"),
        (["--sizes=20"], "--sizes has a new name: --num_points"),
        (["--num_point=20"], "did you mean --num_points?"),
        (["--batch_size=5"], "--batch_size=5 is for --preset=paper"),
        (["--preset=surrogate", "--steps=5"], "--steps is not for --preset=surrogate"),
        (["--jit_compile"], "jit_compile"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, refused):
    assert message in refused(regression, *arguments)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "it has no config.json"),
        ({"format": 1, "flags": {}, "script": "record"}, "a run of train.record"),
        ({"format": 1, "flags": {}, "script": "regression"}, "is not finished"),
    ],
)
def test_what_cannot_be_drawn_is_named(tmp_path, config, message):
    if config:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(errors.UsageError, match=message):
        plot.main([str(tmp_path)])


def test_damaged_files_of_a_run_are_named_and_damaged_nets_trained_again(tmp_path, run):
    command = [*TINY, "--function=3", "--domain=0,1,0,1", "--num_points=3", f"--workdir={tmp_path}"]
    assert run(*command)[0] == 0  # a constant, which has figures too
    net = next((tmp_path / "nets").iterdir())
    net.write_bytes(net.read_bytes()[:100])
    with pytest.raises(errors.UsageError, match="cannot be read"):
        plot.main([str(tmp_path)])
    assert "1 of 2 nets are done" in run(*command)[1]
    plot.main([str(tmp_path)])
    shutil.rmtree(tmp_path / "nets")  # as in train/results
    for figure in tmp_path.glob("*.png"):
        figure.unlink()
    plot.main([str(tmp_path)])
    assert [figure.name for figure in tmp_path.glob("*.png")] == ["figure2.png"]
    (tmp_path / "metrics.csv").write_text("garbage")
    with pytest.raises(errors.UsageError, match=r"metrics.csv is missing or damaged"):
        plot.main([str(tmp_path)])


def exchange(first, second):
    """Give two files each other's names."""
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def test_nets_that_were_exchanged_are_trained_again(tmp_path, run):
    command = [*TINY, "--function=3", "--domain=0,1,0,1", "--num_points=3", f"--workdir={tmp_path}"]
    assert run(*command)[0] == 0
    rows = (tmp_path / "metrics.csv").read_text()
    values, sobolev = sorted((tmp_path / "nets").iterdir(), reverse=True)
    exchange(values, sobolev)
    with pytest.raises(errors.UsageError, match=r"of method sobolev, expected that of method valu"):
        plot.main([str(tmp_path)])
    code, _, err = run(*command)
    assert (code, err.count("it is the file of method")) == (0, 2)
    again = (tmp_path / "metrics.csv").read_text()
    for before, after in zip(rows.splitlines(), again.splitlines(), strict=True):
        assert before.rpartition(",")[0] == after.rpartition(",")[0]  # without seconds


@pytest.mark.parametrize("other", [*slow(["--steps=2"], ["--hidden=3"]), ["--domain=0,2,0,1"]])
def test_the_net_of_another_run_is_trained_again(tmp_path, run, other):
    command = [*TINY, "--function=3", "--domain=0,1,0,1", "--num_points=3"]
    assert run(*command, f"--workdir={tmp_path / 'a'}")[0] == 0
    assert run(*command, *other, f"--workdir={tmp_path / 'b'}")[0] == 0
    for net in (tmp_path / "b/nets").iterdir():
        shutil.copy(net, tmp_path / "a/nets")
    code, out, err = run(*command, f"--workdir={tmp_path / 'a'}")
    assert (code, err.count(f"it is the file of {other[0][2:8].partition('=')[0]}")) == (0, 2)
    assert "are done" not in out


def test_nets_of_runs_that_did_not_state_what_they_are_stay_readable(tmp_path, run):
    command = [*TINY, "--function=3", "--domain=0,1,0,1", "--num_points=3", f"--workdir={tmp_path}"]
    assert run(*command)[0] == 0
    for net in (tmp_path / "nets").iterdir():
        arrays = dict(np.load(net))
        np.savez(net, **{name: arrays[name] for name in ("value", "gradient", "scores")})
    code, out, err = run(*command)
    assert (code, err) == (0, "")
    assert "2 of 2 nets are done" in out


@pytest.mark.parametrize("damage", ["pickle", *slow("shape", "text", "missing", "folder")])
def test_a_net_file_of_something_else_is_trained_again(tmp_path, run, damage):
    command = [*TINY, "--function=3", "--domain=0,1,0,1", "--num_points=3", f"--workdir={tmp_path}"]
    assert run(*command)[0] == 0
    net = next((tmp_path / "nets").iterdir())
    arrays = dict(np.load(net))
    arrays |= {
        "shape": {"scores": np.zeros(7)},
        "text": {"scores": np.array(["a", "b", "c"])},
        "pickle": {"scores": np.array([print, 1, 2], dtype=object)},
    }.get(damage, {})
    if damage == "missing":
        del arrays["gradient"]
    net.unlink()
    np.savez(net, **arrays)
    if damage == "folder":
        net.unlink()
        net.mkdir()
        code, _, err = run(*command)
        assert (code, err.count("is a folder, where a file is to be written")) == (2, 1)
        return
    code, out, err = run(*command)
    assert code == 0
    assert "1 of 2 nets are done" in out
    assert f"{net} cannot be read: " in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--function=1e300*x*x"], "whose squares are too large to add up"),
        (["--function=exp(300*x)*exp(300*x)"], "too large to add up"),
        (["--function=1e17*x", "--preset=paper"], "expected at most 2e+16"),
        (["--function=x", "--domain=-1e308,1e308,-1,1"], "expected numbers of at most 1e+151"),
        (["--function=x", "--hidden=9999999,9999999"], "GiB of memory, this machine has"),
        (["--function=x", "--num_points=99999999999"], "GiB of memory, this machine has"),
    ],
)
def test_what_is_too_large_is_refused(tmp_path, run, flags, message):
    domain = [] if any("domain" in flag for flag in flags) else ["--domain=-1,1,-1,1"]
    code, _, err = run(*TINY, *domain, *flags, f"--workdir={tmp_path / 'run'}")
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert not (tmp_path / "run").exists()
