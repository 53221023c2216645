"""The paper's figures 2 (right), 3 and 5 to 11, from a run folder and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.lib.run import files, metrics_csv, run_folder, schema
from train.lib.run.errors import UsageError
from train.regression import functions, recipes, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {"values": "C7", "sobolev": "C0"}
FLAGS: dict[str, schema.Kind] = {
    "preset": str,
    "domain": (list, type(None)),
    "seed": int,
    "hidden": list,
}
ARROW_STRIDE = 3  # an arrow at every so many points of the grid


def draw(folder: Path, into: Path | None = None) -> list[Path]:
    """Draw all figures of a finished run; without the run's nets, only figure 2.

    Args:
      folder: the run's folder.
      into: where the figures go; default: the run's folder.

    Returns:
      The paths of the figures.

    Raises:
      UsageError: where the folder holds no finished regression run.
    """
    folder = Path(folder)
    into = Path(into or folder)
    path = folder / "config.json"
    flags = run_folder.read_config(path, ["preset", "domain", "seed"], flags=FLAGS)["flags"]
    if flags["preset"] not in recipes.PRESETS:
        raise UsageError(f"{path} is damaged: its preset is {flags['preset']!r}")
    path = folder / "metrics.csv"
    rows = metrics_csv.read_rows(path, ["size", *table.MEASURES], ["function", "method"])
    if not all(row["size"] >= 1 and row["size"] % 1 == 0 for row in rows):
        raise UsageError(f"{path} is damaged: sizes are whole numbers; run the run's command again")
    if {row["method"] for row in rows} != set(recipes.NUM_LABELS):
        raise UsageError(f"{path} lacks a method: run the run's command again")
    paths = [into / "figure2.png"]
    _save(errors_figure(table.medians(rows), recipe_title(flags)), paths[0])
    if not (folder / "nets").exists():
        print(f"{folder} is without its nets: the surfaces are not drawn again")
        return paths
    sizes = sorted({int(row["size"]) for row in rows})[:2]
    for name in dict.fromkeys(row["function"] for row in rows):
        function = functions.resolve(name, None if name in functions.SEVEN else flags["domain"])
        nets = predicted_jets(folder, name, sizes, flags["seed"], preset=flags["preset"])
        jets = {"f(x, y)": true_jet(function)} | nets
        paths.append(into / f"surfaces-{recipes.file_name(name)}.png")
        _save(surfaces_figure(function, jets), paths[-1])
    return paths


def recipe_title(flags: Mapping[str, Any]) -> str:
    """Name a run's preset, and what differs from it.

    >>> recipe_title({"preset": "modern", "hidden": ["64", "64"], "steps": 200, "seed": 0})
    'preset modern, steps=200'
    """
    defaults = {"seed": 0, "batch_size": None} | recipes.PRESETS[flags["preset"]]
    differ = {
        name: ",".join(flags[name]) if isinstance(flags[name], list) else flags[name]
        for name, default in defaults.items()
        if name in flags and flags[name] != default
    }
    return ", ".join(
        [f"preset {flags['preset']}", *(f"{name}={value}" for name, value in differ.items())]
    )


def predicted_jets(
    folder: Path, name: str, sizes: Sequence[int], seed: int, **recipe: Any
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the nets' jets on the grid: {title: (value [S,S], gradient [S,S,2])}.

    `recipe` has other fields of the nets' `Task`.

    Raises:
      UsageError: where a net's file is missing, damaged, or of another net.
    """
    jets = {}
    for size in sizes:
        for method, title in recipes.METHOD_NAMES.items():
            net = recipes.read_net(folder, name, size, method, seed, **recipe)
            jets[f"{title}, {size} points"] = net["value"], net["gradient"]
    return jets


def true_jet(function: functions.Function) -> tuple[np.ndarray, np.ndarray]:
    """Return the function's own value [S,S] and gradient [S,S,2] on the grid."""
    grid = functions.grid(function.domain, recipes.GRID_SIDE)
    value, gradient = st.targets.tabulate(function, tf.constant(grid), batch_size=len(grid))
    side = [recipes.GRID_SIDE, recipes.GRID_SIDE]
    return value.reshape(side), np.nan_to_num(gradient.reshape([*side, 2]), posinf=0, neginf=0)


def errors_figure(medians: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw figure 2, right: test MSE over the number of points, a panel for each function."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(m["function"] for m in medians))
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    size = max(2.9 * columns, 4.5), 2.6 * rows + 0.4  # wide enough for the title
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axis, name in zip(panels.flat, names, strict=False):
        for method, color in COLORS.items():
            chosen = [m for m in medians if (m["function"], m["method"]) == (name, method)]
            sizes, errors = [m["size"] for m in chosen], np.array([m["test_mse"] for m in chosen])
            label = recipes.METHOD_NAMES[method]
            axis.plot(sizes, errors[:, 0], "o-", color=color, label=label)
            axis.fill_between(sizes, errors[:, 1], errors[:, 2], color=color, alpha=0.2, lw=0)
        axis.set(xscale="log", yscale="log")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.set_xticks([], minor=True)
        axis.set_title(function_title(name), fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in panels.flat[len(names) :]:
        axis.remove()
    for axis in panels[:, 0]:
        axis.set_ylabel("test MSE")
    figure.supxlabel("training points", fontsize="medium")
    figure.suptitle(f"{title}: median and range over the seeds", fontsize="medium")
    panels[0, 0].legend(frameon=False, fontsize="small")
    return figure


def surfaces_figure(
    function: functions.Function, jets: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """Draw figures 3 and 5 to 11: the surface above, the gradient field below, for every model.

    Args:
      function: what was learned.
      jets: {title: (value [S,S], gradient [S,S,2])}; the first one is the truth, whose range is
        the color scale of its row.
    """
    from matplotlib.figure import Figure

    side = recipes.GRID_SIDE
    x, y = functions.grid(function.domain, side).T.reshape(2, side, side)
    value, gradient = next(iter(jets.values()))
    low, high = value.min(), value.max()
    if high == low:  # a constant
        high += max(abs(high), 1)
    steepness = np.maximum(np.percentile(_norm(gradient), [5, 99.5]), [1e-12, 1e-11])
    figure = Figure(figsize=(2.9 * len(jets), 5.8), layout="constrained")
    for k, (title, (value, gradient)) in enumerate(jets.items()):
        top = figure.add_subplot(2, len(jets), k + 1, projection="3d")
        surface = _draw_surface(top, x, y, np.clip(value, low, high), low, high)
        top.set_title(title if k else function_title(function.name), fontsize="medium")
        bottom = figure.add_subplot(2, len(jets), len(jets) + k + 1)
        mesh = _draw_gradients(bottom, x, y, gradient, steepness)
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
    axis.set(zlim=(low, high), zticklabels=[])  # the color bar has the numbers
    axis.set_xlabel("x", labelpad=-8)
    axis.set_ylabel("y", labelpad=-8)
    axis.tick_params(labelsize="x-small", pad=-3)
    return surface


def _draw_gradients(
    axis: Any, x: np.ndarray, y: np.ndarray, gradient: np.ndarray, steepness: np.ndarray
) -> Any:
    """Draw the norm as color, between the two numbers of `steepness`, and directions as arrows."""
    logs = np.log10(np.clip(_norm(gradient), *steepness))
    low, high = np.log10(steepness)
    mesh = axis.pcolormesh(x, y, logs, cmap="magma", shading="gouraud", vmin=low, vmax=high)
    some = (slice(1, None, ARROW_STRIDE), slice(1, None, ARROW_STRIDE))
    arrows = gradient[some] / np.maximum(_norm(gradient[some]), 1e-30)[..., None]
    u, v = np.moveaxis(arrows, -1, 0)
    axis.quiver(x[some], y[some], u, v, color="w", pivot="mid", scale=22)
    axis.set_xlabel("x")
    axis.tick_params(labelsize="x-small")
    return mesh


def function_title(name: str) -> str:
    """Return a function's name as a title.

    >>> function_title("styblinski_tang"), function_title("bukin")
    ('Styblinski-Tang', 'Bukin N.6')
    """
    title = name.replace("_", "-").title() if name in functions.SEVEN else name[:40]
    return {"Mccormick": "McCormick", "Bukin": "Bukin N.6"}.get(title, title)


def _save(figure: Figure, path: Path) -> None:
    with files.replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _norm(gradient: np.ndarray) -> np.ndarray:
    return np.linalg.norm(gradient, axis=-1)
