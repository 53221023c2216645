"""Learning curves of several runs in one figure: accuracy, and cosines at each cut, over steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from train.lib.images import table1
from train.lib.images.figure import WIDTH, cut_labels
from train.lib.run import files, metrics_csv
from train.lib.run.line_labels import label_ends

ACCURACY = "val_accuracy"
COLORS = {method: f"C{k}" for k, method in enumerate(reversed(table1.ROWS))}


def draw(results: Sequence[table1.Result], path: Path) -> None:
    """Draw a line for each run, in the color of its method; labels are at the methods' means.

    Args:
      results: runs on the same images; `table1.read` has read them.
      path: the PNG file.
    """
    from matplotlib.figure import Figure

    runs = [(result, metrics_csv.read_rows(result.folder / "metrics.csv")) for result in results]
    cuts = max((result.splits for result in results), default=0)
    cuts = cuts if any("cut1_cosine" in rows[-1] for _, rows in runs) else 0
    figure = Figure(figsize=(WIDTH * (1 + cuts), 3.6), layout="constrained")
    accuracy, *others = figure.subplots(1, 1 + cuts, squeeze=False)[0]
    _draw_panel(accuracy, runs, ACCURACY, 100)
    accuracy.set_title("held-out accuracy, %", fontsize="medium")
    for k, (axis, name) in enumerate(zip(others, cut_labels([""] * cuts), strict=True), 1):
        axis.axhline(0, color="0.8", zorder=0)
        _draw_panel(axis, runs, f"cut{k}_cosine", 1)
        axis.set_title(f"cosine of synthetic and true gradient, {name}", fontsize="medium")
    with files.replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _draw_panel(axis: Any, runs: Any, name: str, factor: float) -> None:
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
