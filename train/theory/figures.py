"""The figures of `train.theory`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import sobolev_tf as st
from train.lib.run import files
from train.theory import examples, existence, sample_counts
from train.theory.piecewise_linear import join_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("figure2_left.png", "lemma1.png", "proposition1.png", "gaussians.png")


def draw(folder: Path) -> list[Path]:
    """Draw all figures into a folder; return their paths."""
    drawn = [figure_2_left(), lemma_1(), proposition_1(), gaussians()]
    paths = [folder / name for name in NAMES]
    for figure, path in zip(drawn, paths, strict=True):
        files.write_png(path, figure, dpi=130)
    return paths


def figure_2_left() -> Figure:
    """Draw a function of three lines, two others with its values, and the one with its slopes."""
    figure, axes = _figure((4.6, 5.6), 3, sharex=True)
    x, y = examples.THREE_POINTS
    true = join_lines(x, y, examples.TRUE_LINES.slopes)
    axes[0].plot(true.knots, true.values, color="0.3", lw=2)
    axes[0].set_title("a piecewise linear function")
    for lines, color in zip(examples.OTHER_LINES, ("C0", "C1"), strict=True):
        other = join_lines(x, y, lines.slopes)
        axes[1].plot(other.knots, other.values, color=color, lw=2)
    axes[1].set_title("two of the many with its three values")
    axes[2].plot(true.knots, true.values, color="C2", lw=2)
    _strokes(axes[2], x, y, examples.TRUE_LINES.slopes, 0.35)
    axes[2].set_title("the only one with its values and slopes")
    for axis in axes:
        axis.plot(x, y, "o", color="C3", ms=6, zorder=3)
        axis.set_ylim(-2.3, 3.4)
    return figure


def lemma_1() -> Figure:
    """Draw a function and its slope, and the interpolants of two errors."""
    figure, axes = _figure((8, 3.2), 1, 2)
    function = examples.SMOOTH[0]
    z = np.linspace(*function.interval, 2001)
    axes[0].plot(z, function.value(z), color="0.65", lw=4, label=function.name)
    axes[1].plot(z, function.slope(z), color="0.65", lw=4)
    for epsilon, color in ((3.0, "C1"), (1.0, "C0")):
        p = existence.approximate(function, epsilon)
        label = f"error below {epsilon:g}: {len(p.knots) - 1} pieces"
        axes[0].plot(p.knots, p.values, color=color, lw=1, label=label)
        axes[1].stairs(np.diff(p.values) / np.diff(p.knots), p.knots, color=color, baseline=None)
    axes[0].set_title("value")
    axes[1].set_title("slope")
    axes[0].set_ylim(-1.2, 2.2)
    axes[0].legend(frameon=False, fontsize="small", loc="upper right")
    return figure


def proposition_1() -> Figure:
    """Draw the net that has the values of a sine, and the slopes of minus that sine."""
    figure, axes = _figure((6.4, 3.2), 1)
    [axis] = axes
    x, y, dy = examples.contradictory_labels(7)
    net = existence.interpolating_net(x, y, dy)
    grid = np.linspace(-4, 4, 4001)[:, None]
    axis.plot(grid[:, 0], np.sin(grid[:, 0]), color="0.65", lw=1.5, label="sin x")
    axis.plot(grid[:, 0], st.jet(net, grid, 0).value[:, 0], color="C0", lw=1.5, label="net")
    _strokes(axis, x[:, 0], y, dy[:, 0], 0.2)
    axis.plot(x[:, 0], y, "o", color="C3", ms=5, zorder=3, label="labels")
    axis.legend(frameon=False, fontsize="small", loc="upper left")
    return figure


def gaussians() -> Figure:
    """Draw two Gaussians, with their slopes at the points where they agree: two, and no more."""
    figure, axes = _figure((6.4, 3.2), 1)
    [axis] = axes
    first = examples.FIRST_GAUSSIAN
    second = sample_counts.other_gaussian(
        *first, examples.MEETING_POINTS, examples.NEAR_SECOND_GAUSSIAN
    )
    points = sample_counts.common_points(first, second)
    grid = np.linspace(-3, 8, 501)
    for (mean, deviation), color in ((first, "C0"), (second, "C1")):
        density = sample_counts.gaussian(grid, mean, deviation)
        axis.plot(grid, density, color=color, lw=2, label=f"N({mean:.4g}, {deviation:.4g}²)")
        at = sample_counts.gaussian(points, mean, deviation)
        slopes = sample_counts.gaussian_slope(points, mean, deviation)
        _strokes(axis, points, at, slopes, 0.6, color)
    axis.plot(points, at, "o", color="C3", ms=6, zorder=3)
    axis.legend(frameon=False, fontsize="small")
    return figure


def _figure(size: tuple[float, float], rows: int, columns: int = 1, **kwargs: Any) -> tuple:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs).ravel()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[-columns:]:
        axis.set_xlabel("x")
    return figure, axes


def _strokes(
    axis: Axes, x: np.ndarray, y: np.ndarray, slopes: np.ndarray, half: float, color: str = "C3"
) -> None:
    """Draw a stroke along the slope at every point, `half` units of x to each side."""
    ends = np.stack([x - half, x + half])
    axis.plot(ends, y + (ends - x) * slopes, color=color, lw=3.5, solid_capstyle="round", alpha=0.8)
