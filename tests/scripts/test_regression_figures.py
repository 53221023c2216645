"""Axes, labels and titles of train.regression's figures."""

import json

import numpy as np
import pytest

from train.regression import error_figure, figures, functions, recipes, surfaces


def medians(names, scale=1.0):
    return [
        {"function": name, "size": size, "method": method, "test_mse": [mse, mse / 4, 4 * mse]}
        for name in names
        for method in recipes.NUM_LABELS
        for size, mse in ((20, 4.0 * scale), (100, 1.0 * scale))
    ]


def test_errors_are_shares_of_the_deviation_on_one_axis():
    names = ["booth", "ackley", "beale", "x*y", "bukin"]
    deviations = dict.fromkeys(names, 2.0) | {"ackley": 10.0}
    figure = error_figure.errors_figure(medians(names), deviations, "A title", seeds=3)
    booth, ackley, *others = figure.axes
    assert booth.lines[0].get_ydata().tolist() == [1, 0.5]
    assert ackley.lines[0].get_ydata().tolist() == [0.2, 0.1]
    assert {axis.get_ylim() for axis in others[:3]} == {booth.get_ylim()}
    assert all(axis.get_ylabel() == "" for axis in figure.axes)
    assert figure.get_supylabel() == "test RMSE / standard deviation of f"
    assert figure.get_suptitle() == "A title"
    assert booth.get_legend() is None
    legend = [text.get_text() for text in others[3].get_legend().get_texts()]  # the empty panel
    assert legend == [
        "values only, median",
        "its range over 3 seeds",
        "Sobolev, median",
        "its range over 3 seeds",
        "predicting the mean of f",
    ]


def test_one_seed_has_no_range():
    figure = error_figure.errors_figure(medians(["booth"]), {"booth": 2.0}, "A title", seeds=1)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["values only", "Sobolev", "predicting the mean of f"]


def test_a_run_of_engineering_functions_has_no_figure(tmp_path, capsys):
    flags = {"preset": "modern", "domain": None, "seed": 0, "suite": "engineering"}
    config = {"format": 1, "script": "regression", "flags": flags, "facts": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert figures.draw(tmp_path) == []
    assert capsys.readouterr().out == (
        f"{tmp_path} is a run of --suite=engineering, which has no figure\n"
    )


def test_the_deviation_of_a_function():
    domain = ("0", "1", "0", "1")
    assert error_figure.deviation("x + 0*y", domain) == pytest.approx(12**-0.5, rel=0.02)
    assert error_figure.deviation("3", domain) == 1


def test_surfaces_are_three_with_points_and_errors(monkeypatch, tmp_path):
    side = recipes.GRID_SIDE
    net = {"value": np.zeros([side, side]), "gradient": np.ones([side, side, 2])}
    net["scores"] = np.array([4.0, 1.0, 1.0])
    monkeypatch.setattr(recipes, "read_net", lambda *arguments, **recipe: net)
    jets = surfaces.predicted_jets(tmp_path, "booth", 20, 0, deviation=10.0)
    booth = functions.SEVEN["booth"]
    points = functions.labeled_points(booth, 20, seed=(0, 20)).x
    truth = {"f(x, y)": surfaces.true_jet(booth)}
    figure = surfaces.surfaces_figure(booth, truth | jets, points)
    tops, bottoms = figure.axes[:6:2], figure.axes[1:6:2]
    assert [axis.get_title() for axis in tops] == [
        "Booth\ndots: training points",
        "values only, 20 points\ntest RMSE 0.2 of f's deviation",
        "Sobolev, 20 points\ntest RMSE 0.2 of f's deviation",
    ]
    assert all(len(axis.get_zticks()) > 1 for axis in tops)
    for axis in bottoms:
        np.testing.assert_array_equal(axis.lines[0].get_xydata(), points)
