"""Figure 2, right: errors over the number of points, of every function on one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from train.regression import functions, recipes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {"values": "C7", "sobolev": "C0"}
LINES = tuple(recipes.METHOD_NAMES.values())
MEAN = "predicting the mean of f"


def deviation(name: str, domain: Sequence[str] | None = None) -> float:
    """Return the standard deviation of a function over the test points; 1 for a constant."""
    function = functions.resolve(name, None if name in functions.SEVEN else domain)
    values = recipes.test_points(function).labels[0]
    return float(np.std(values)) or 1.0


def errors_figure(
    medians: Sequence[Mapping[str, Any]], deviations: Mapping[str, float], title: str, seeds: int
) -> Figure:
    """Draw test RMSE over the function's deviation, a panel for each function, on one y axis.

    Args:
      medians: of `table.medians`.
      deviations: {function: standard deviation of its values}.
      title: title of the figure.
      seeds: how many runs the medians are of.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(m["function"] for m in medians))
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    size = max(2.6 * columns, 4.5), 2.5 * rows + 0.5  # wide enough for the title
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis, name in zip(panels.flat, names, strict=False):
        for method, color in COLORS.items():
            chosen = [m for m in medians if (m["function"], m["method"]) == (name, method)]
            sizes = [m["size"] for m in chosen]
            errors = np.sqrt([m["test_mse"] for m in chosen]) / deviations[name]
            label = recipes.METHOD_NAMES[method]
            axis.plot(sizes, errors[:, 0], "o-", color=color, label=label)
            band = f"its range over {seeds} seeds"
            axis.fill_between(
                sizes, errors[:, 1], errors[:, 2], color=color, alpha=0.2, lw=0, label=band
            )
        axis.axhline(1, color="0.5", linestyle=":", label=MEAN, zorder=0)
        axis.set(xscale="log", yscale="log")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.set_xticks([], minor=True)
        axis.minorticks_off()
        axis.set_title(function_title(name), fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    _draw_legend(figure, panels, len(names), seeds)
    figure.supylabel("test RMSE / standard deviation of f", fontsize="medium")
    figure.supxlabel("training points", fontsize="medium")
    figure.suptitle(title, fontsize="medium")
    return figure


def _draw_legend(figure: Figure, panels: np.ndarray, drawn: int, seeds: int) -> None:
    """Explain lines and bands in the first empty panel, or below the figure."""
    handles, labels = panels.flat[0].get_legend_handles_labels()
    if seeds == 1:  # no range
        shown = [k for k, label in enumerate(labels) if not label.startswith("its range")]
        handles, labels = [handles[k] for k in shown], [labels[k] for k in shown]
    empty = list(panels.flat[drawn:])
    for axis in empty:
        axis.set_axis_off()
    style: dict[str, Any] = {"frameon": False, "fontsize": "small"}
    if seeds > 1:
        labels = [f"{label}, median" if label in LINES else label for label in labels]
    if empty:
        empty[0].legend(handles, labels, loc="center", **style)
    else:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, **style)


def function_title(name: str) -> str:
    """Return a function's name as a title.

    >>> function_title("styblinski_tang"), function_title("bukin")
    ('Styblinski-Tang', 'Bukin N.6')
    """
    title = name.replace("_", "-").title() if name in functions.SEVEN else name[:40]
    return {"Mccormick": "McCormick", "Bukin": "Bukin N.6"}.get(title, title)
