"""Learning curves of several runs in one figure: accuracy, and cosines at each cut, over steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from train.lib.images import table1
from train.lib.images.figure import WIDTH, cut_labels
from train.lib.run import files, metrics_csv
from train.lib.run.line_labels import label_ends

Line = tuple[table1.Result, list[dict[str, float]]]  # a run, and its rows of metrics
ACCURACY = "val_accuracy"
COLORS = {method: f"C{k}" for k, method in enumerate(reversed(table1.ROWS))}


def draw(columns: table1.Columns, path: Path) -> None:
    """Draw a line for each run, in the color of its method; labels are at the methods' means.

    Args:
      columns: runs on the same images; `table1.cells` has grouped them. Each number of cuts has a
        row of panels.
      path: the PNG file.
    """
    from matplotlib.figure import Figure

    lines = {column: _lines(methods) for column, methods in columns.items()}
    widest = max(map(_cuts, lines.values()))
    figure = Figure(figsize=(WIDTH * (1 + widest), 3.6 * len(columns)), layout="constrained")
    grid = figure.subplots(len(columns), 1 + widest, squeeze=False)
    for panels, (column, runs) in zip(grid, lines.items(), strict=True):
        _draw_row(panels, runs, "" if len(columns) == 1 else f", {table1.count_of_cuts(column[2])}")
    files.write_png(path, figure, dpi=110)


def _lines(methods: Mapping[str, Sequence[table1.Result]]) -> list[Line]:
    """Read the metrics of a column's runs."""
    results = [result for cell in methods.values() for result in cell]
    return [(result, metrics_csv.read_rows(result.folder / "metrics.csv")) for result in results]


def _cuts(runs: Sequence[Line]) -> int:
    """Count the cuts that have cosines."""
    cuts = max(result.splits for result, _ in runs)
    return cuts if any("cut1_cosine" in rows[-1] for _, rows in runs) else 0


def _draw_row(panels: Sequence[Any], runs: Sequence[Line], note: str) -> None:
    """Draw the accuracy and the cosines of one number of cuts."""
    accuracy, *others = panels
    _draw_panel(accuracy, runs, ACCURACY, 100)
    accuracy.set_title(f"held-out accuracy, %{note}", fontsize="medium")
    names = cut_labels([""] * _cuts(runs))
    for k, (axis, name) in enumerate(zip(others, names, strict=False), 1):
        axis.axhline(0, color="0.8", zorder=0)
        _draw_panel(axis, runs, f"cut{k}_cosine", 1)
        axis.set_title(f"cosine of synthetic and true gradient, {name}", fontsize="medium")
    for axis in others[len(names) :]:
        axis.set_visible(False)


def _draw_panel(axis: Any, runs: Sequence[Line], name: str, factor: float) -> None:
    """Draw one number of all runs that have it."""
    ends: dict[str, list[float]] = {}
    for result, rows in runs:
        if any(name not in row for row in rows):
            continue
        values = [factor * row[name] for row in rows]
        color = COLORS[result.method]
        axis.plot([row["step"] for row in rows], values, color=color, marker=".", linewidth=1)
        ends.setdefault(result.method, []).append(values[-1])
    axis.set_xlabel("training step")
    axis.spines[["top", "right"]].set_visible(False)
    label_ends(
        axis,
        [
            (table1.NAMES[method], float(np.mean(last)), COLORS[method])
            for method, last in ends.items()
        ],
    )
