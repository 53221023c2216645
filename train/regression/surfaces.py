"""Figures 3 and 5 to 11: what was learned as surfaces, with gradient fields below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.regression import functions, recipes
from train.regression.error_figure import function_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARROW_STRIDE = 3  # one arrow for this many points of the grid, along each axis


def predicted_jets(
    folder: Path, name: str, size: int, seed: int, deviation: float, **recipe: Any
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the nets' jets on the grid: {title: (value [S,S], gradient [S,S,2])}.

    Args:
      folder: folder of the run.
      name: name of the function.
      size: training points of the nets.
      seed: seed of the nets.
      deviation: standard deviation of the function; the titles have test errors as shares of it.
      **recipe: other fields of the nets' `Task`.

    Raises:
      UsageError: where a net's file is missing, damaged, or of another net.
    """
    jets = {}
    for method, title in recipes.METHOD_NAMES.items():
        net = recipes.read_net(folder, name, size, method, seed, **recipe)
        error = float(np.sqrt(net["scores"][0])) / deviation
        heading = f"{title}, {size} points\ntest RMSE {error:.2g} of f's deviation"
        jets[heading] = net["value"], net["gradient"]
    return jets


def true_jet(function: functions.Function) -> tuple[np.ndarray, np.ndarray]:
    """Return the function's own value [S,S] and gradient [S,S,2] on the grid."""
    grid = functions.grid(function.domain, recipes.GRID_SIDE)
    value, gradient = st.targets.tabulate(function, tf.constant(grid), batch_size=len(grid))
    side = [recipes.GRID_SIDE, recipes.GRID_SIDE]
    return value.reshape(side), np.nan_to_num(gradient.reshape([*side, 2]), posinf=0, neginf=0)


def surfaces_figure(
    function: functions.Function,
    jets: Mapping[str, tuple[np.ndarray, np.ndarray]],
    points: np.ndarray,
) -> Figure:
    """Draw figures 3 and 5 to 11: the surface above, the gradient field below, for every model.

    Args:
      function: what was learned.
      jets: {title: (value [S,S], gradient [S,S,2])}; the first one is the truth, whose range is
        the color scale of its row.
      points: [B,2], where the models were trained; dots in the lower row.
    """
    from matplotlib.figure import Figure

    side = recipes.GRID_SIDE
    x, y = functions.grid(function.domain, side).T.reshape(2, side, side)
    value, gradient = next(iter(jets.values()))
    low, high = value.min(), value.max()
    if high == low:  # a constant
        high += max(abs(high), 1)
    steepness = np.maximum(np.percentile(_norm(gradient), [5, 99.5]), [1e-12, 1e-11])
    figure = Figure(figsize=(3.1 * len(jets), 5.8), layout="constrained")
    for k, (title, (value, gradient)) in enumerate(jets.items()):
        top = figure.add_subplot(2, len(jets), k + 1, projection="3d")
        surface = _draw_surface(top, x, y, np.clip(value, low, high), low, high)
        heading = title if k else f"{function_title(function.name)}\ndots: training points"
        top.set_title(heading, fontsize="medium")
        bottom = figure.add_subplot(2, len(jets), len(jets) + k + 1)
        mesh = _draw_gradients(bottom, x, y, gradient, steepness)
        bottom.plot(*points.T, "o", color="C9", markersize=4, markeredgecolor="k", zorder=3)
        if k == 0:
            bottom.set_ylabel("y")
        else:
            bottom.set_yticklabels([])
    axes = np.array(figure.axes).reshape(-1, 2)
    # Pointed ends: what lies beyond a bar is drawn in its last color.
    figure.colorbar(
        surface, ax=list(axes[:, 0]), shrink=0.7, label="value", extend="both", pad=0.02
    )
    figure.colorbar(mesh, ax=list(axes[:, 1]), label="log10 |gradient|", extend="both", pad=0.02)
    return figure


def _draw_surface(
    axis: Any, x: np.ndarray, y: np.ndarray, value: np.ndarray, low: float, high: float
) -> Any:
    surface = axis.plot_surface(
        x, y, value, cmap="viridis", vmin=low, vmax=high, rcount=len(x), ccount=len(x)
    )
    axis.set(zlim=(low, high))
    axis.locator_params(axis="z", nbins=4)
    for each in (axis.xaxis, axis.yaxis, axis.zaxis):
        each.pane.set_facecolor("w")
    axis.set_xlabel("x", labelpad=-8)
    axis.set_ylabel("y", labelpad=-8)
    axis.tick_params(labelsize="x-small", pad=-2)
    return surface


def _draw_gradients(
    axis: Any, x: np.ndarray, y: np.ndarray, gradient: np.ndarray, steepness: np.ndarray
) -> Any:
    """Draw the norm as color, between the two numbers of `steepness`, and directions as arrows."""
    logs = np.log10(np.clip(_norm(gradient), *steepness))
    low, high = np.log10(steepness)
    mesh = axis.pcolormesh(x, y, logs, cmap="magma", shading="nearest", vmin=low, vmax=high)
    some = (slice(1, None, ARROW_STRIDE), slice(1, None, ARROW_STRIDE))
    arrows = gradient[some] / np.maximum(_norm(gradient[some]), 1e-30)[..., None]
    u, v = np.moveaxis(arrows, -1, 0)
    axis.quiver(x[some], y[some], u, v, color="w", pivot="mid", scale=22)
    axis.set_xlabel("x")
    axis.tick_params(labelsize="x-small")
    return mesh


def _norm(gradient: np.ndarray) -> np.ndarray:
    return np.linalg.norm(gradient, axis=-1)
