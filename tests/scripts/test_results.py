"""The committed run folders in train/results stay readable: figures, Table 1, comparisons."""

import json
from pathlib import Path

import pytest

from train import plot
from train.lib.images import table1
from train.lib.run import compare

RESULTS = Path(plot.__file__).parent / "results"
RUNS = sorted(path.parent for path in RESULTS.rglob("config.json"))
SCRIPTS = {run: json.loads((run / "config.json").read_text())["script"] for run in RUNS}
FIGURES = {
    "distill": "figure4.png",
    "forces": "errors.png",
    "pricing": "errors.png",
    "regression": "figure2.png",
    "teacher": "curve.png",
}


def runs_with_a_figure():
    """One run of each script in the default suite, the others among the slow tests."""
    seen = set()
    for run, script in SCRIPTS.items():
        if script in FIGURES:
            marks = [pytest.mark.slow] if script in seen else []
            seen.add(script)
            yield pytest.param(run, id=run.name, marks=marks)


@pytest.mark.parametrize("run", [*runs_with_a_figure()])
def test_a_committed_run_is_drawn(run, tmp_path):
    plot.main([run], tmp_path)
    figures = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")]
    assert figures == [Path(run.name, FIGURES[SCRIPTS[run]])]
    assert (tmp_path / figures[0]).stat().st_size > 10_000


@pytest.mark.parametrize("table", sorted(RESULTS.glob("*/table1.md")), ids=lambda p: p.parent.name)
def test_a_committed_table_is_made_again(table):
    runs = [run for run in RUNS if run.parent == table.parent]
    columns = table1.cells(table1.read(run) for run in runs)
    assert table1.text(columns) == table.read_text().removesuffix("\n")


def test_every_committed_run_has_a_headline():
    expected = {
        "cifar10": "val_accuracy",
        "imagenet": "val_accuracy",
        "forces": "force_rmse",
        "pricing": "delta_rmse_over_values_only",
        "regression": "sobolev_lower",
        "distill": "test_kl",
        "teacher": "score",
    }
    for run, script in SCRIPTS.items():
        name, value, _ = compare.headline(run)
        assert name == expected[script], run
        assert isinstance(value, int | float), run


def test_the_two_presets_of_section_4_1_are_compared():
    text = compare.text([RESULTS / "regression_modern", RESULTS / "regression_paper"])
    assert [line.split() for line in text.splitlines()] == [
        ["run", "hidden", "preset", "steps", "sobolev_lower,", "of", "21", "cells"],
        ["regression_modern", "64,64", "modern", "100", "16"],
        ["regression_paper", "256,256", "paper", "50000", "15"],
    ]
