"""The paper's figures 2 (right), 3 and 5 to 11, from a run folder and nothing else.

Figures are made by matplotlib's object interface: pyplot would keep global state and look for a
screen.
"""

import math
from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import sobolev_tf as st
from train.lib.run import checkpoints, files, metrics_csv, run_folder
from train.lib.run.cli import UsageError
from train.regression import functions, recipes, table

COLOURS = {"values": "C7", "sobolev": "C0"}
NAMES = {"values": "regular", "sobolev": "Sobolev"}
ARROWS = 3  # every so many points of the grid


def draw(folder, into=None):
    """Draws all figures of a finished run into the folder `into`, or its own, and returns their
    paths; without the run's nets, the first.

    Raises UsageError where the folder holds no finished regression run.
    """
    folder = Path(folder)
    into = Path(into or folder)
    settings = run_folder.read_config(folder / "config.json", ["preset", "domain", "seed"])["flags"]
    path = folder / "metrics.csv"
    rows = metrics_csv.checked_rows(path, ["size", *table.MEASURES], ["function", "method"])
    if {row["method"] for row in rows} != set(recipes.METHODS):
        raise UsageError(f"{path} lacks a method: run the run's command again")
    paths = [into / "figure2.png"]
    save(errors_figure(table.medians(rows), settings["preset"]), paths[0])
    if not (folder / "nets").exists():
        print(f"{folder} is without its nets: the surfaces are not drawn again")
        return paths
    names = list(dict.fromkeys(row["function"] for row in rows))
    sizes = sorted({int(row["size"]) for row in rows})[:2]
    for name in names:
        domain = None if name in functions.SEVEN else settings["domain"]
        function = functions.resolve(name, domain)
        jets = {"f(x, y)": true_jet(function)}
        for size in sizes:
            for method in recipes.METHODS:
                path = recipes.path(folder, name, size, method, settings["seed"])
                try:
                    with path.open("rb") as file, np.load(file) as net:
                        jets[f"{NAMES[method]}, {size} points"] = net["value"], net["gradient"]
                except checkpoints.DAMAGED as error:
                    text = f"{path} cannot be read ({error}): run the run's command again"
                    raise UsageError(text) from error
        paths.append(into / f"surfaces-{recipes.plain(name)}.png")
        save(surfaces_figure(function, jets), paths[-1])
    return paths


def errors_figure(medians, preset):
    """Figure 2, right: test MSE over the number of points, a panel for each function."""
    names = list(dict.fromkeys(m["function"] for m in medians))
    columns = min(4, len(names))
    count = math.ceil(len(names) / columns)
    size = max(2.9 * columns, 4.5), 2.6 * count + 0.4  # wide enough for the title
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(count, columns, squeeze=False)
    for axis, name in zip(panels.flat, names, strict=False):
        for method, colour in COLOURS.items():
            chosen = [m for m in medians if (m["function"], m["method"]) == (name, method)]
            sizes, errors = [m["size"] for m in chosen], np.array([m["test_mse"] for m in chosen])
            axis.plot(sizes, errors[:, 0], "o-", color=colour, label=NAMES[method])
            axis.fill_between(sizes, errors[:, 1], errors[:, 2], color=colour, alpha=0.2, lw=0)
        axis.set(xscale="log", yscale="log")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.set_xticks([], minor=True)
        axis.set_title(shown(name), fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in panels.flat[len(names) :]:
        axis.remove()
    for axis in panels[:, 0]:
        axis.set_ylabel("test MSE")
    figure.supxlabel("training points", fontsize="medium")
    figure.suptitle(f"Preset {preset}: median and range over the seeds", fontsize="medium")
    panels[0, 0].legend(frameon=False, fontsize="small")
    return figure


def surfaces_figure(function, jets):
    """Figures 3 and 5 to 11: the surface above, the gradient field below, for every model.

    jets: {title: (value [S,S], gradient [S,S,2])}; the first one is the truth, whose range is the
        colour scale of its row.
    """
    figure = Figure(figsize=(2.9 * len(jets), 5.8), layout="constrained")
    x, y = functions.grid(function.domain, recipes.SIDE).T.reshape(2, recipes.SIDE, recipes.SIDE)
    (value, gradient), *_ = jets.values()
    low, high = value.min(), value.max()
    high += (high == low) * max(abs(high), 1)  # a constant
    steepness = np.maximum(np.percentile(_size(gradient), [5, 99.5]), [1e-12, 1e-11])
    for k, (title, (value, gradient)) in enumerate(jets.items()):
        axis = figure.add_subplot(2, len(jets), k + 1, projection="3d")
        surface = axis.plot_surface(
            *(x, y, np.clip(value, low, high)),
            **{"cmap": "viridis", "vmin": low, "vmax": high, "rcount": 41, "ccount": 41},
        )
        axis.set(zlim=(low, high), zticklabels=[])  # the colour bar has the numbers
        axis.set_xlabel("x", labelpad=-8)
        axis.set_ylabel("y", labelpad=-8)
        axis.tick_params(labelsize="x-small", pad=-3)
        axis.set_title(title if k else shown(function.name), fontsize="medium")
        flat = figure.add_subplot(2, len(jets), len(jets) + k + 1)
        logs = np.log10(np.clip(_size(gradient), *steepness))
        limits = dict(zip(("vmin", "vmax"), np.log10(steepness), strict=True))
        mesh = flat.pcolormesh(x, y, logs, cmap="magma", shading="gouraud", **limits)
        some = (slice(1, None, ARROWS), slice(1, None, ARROWS))
        arrows = gradient[some] / np.maximum(_size(gradient[some]), 1e-30)[..., None]
        flat.quiver(x[some], y[some], *np.moveaxis(arrows, -1, 0), color="w", pivot="mid", scale=22)
        flat.set_xlabel("x")
        flat.tick_params(labelsize="x-small")
        if k == 0:
            flat.set_ylabel("y")
        else:
            flat.set_yticklabels([])
    axes = np.array(figure.axes).reshape(-1, 2)
    # Pointed ends: what lies beyond a bar is drawn in its last colour.
    beyond = {"extend": "both", "pad": 0.02}
    figure.colorbar(surface, ax=list(axes[:, 0]), shrink=0.7, label="value", **beyond)
    figure.colorbar(mesh, ax=list(axes[:, 1]), label="log10 |gradient|", **beyond)
    return figure


def true_jet(function):
    """(value [S,S], gradient [S,S,2]) of the function itself on the grid."""
    grid = functions.grid(function.domain, recipes.SIDE)
    value, gradient = st.targets.tabulate(function, tf.constant(grid), batch_size=len(grid))
    side = [recipes.SIDE, recipes.SIDE]
    return value.reshape(side), np.nan_to_num(gradient.reshape([*side, 2]), posinf=0, neginf=0)


def shown(name):
    """A function's name as a title."""
    plain = name.replace("_", "-").title() if name in functions.SEVEN else name[:40]
    return {"Mccormick": "McCormick", "Bukin": "Bukin N.6"}.get(plain, plain)


def save(figure, path):
    with files.replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _size(gradient):
    return np.linalg.norm(gradient, axis=-1)
