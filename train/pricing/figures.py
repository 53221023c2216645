"""Errors over the number of paths, and prices and deltas beside closed forms, from a run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from train.lib.run import files, metrics_csv, run_folder, schema
from train.lib.run.errors import UsageError
from train.pricing import nets, products, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
COLORS = {"values": "C7", "sobolev": "C0", "sobolev_half": "C1"}
MEASURE_NAMES = {"price_rmse": "price RMSE", "delta_rmse": "delta RMSE"}
FLAGS: dict[str, schema.Kind] = {"seed": int, "num_assets": int}


def draw(folder: Path, into: Path | None = None) -> list[Path]:
    """Draw all figures of a finished run; without the run's nets, only the errors.

    Args:
      folder: the run's folder.
      into: where the figures go; default: the run's folder.

    Returns:
      The paths of the figures.

    Raises:
      UsageError: the folder holds no finished pricing run.
    """
    folder = Path(folder)
    into = Path(into or folder)
    path = folder / "config.json"
    flags = run_folder.read_config(path, list(FLAGS), flags=FLAGS)["flags"]
    if not 1 <= flags["num_assets"] <= products.MOST_ASSETS:
        raise UsageError(f"{path} is damaged: its num_assets are {flags['num_assets']}")
    path = folder / "metrics.csv"
    rows = metrics_csv.read_rows(path, ["paths", *table.MEASURES], ["product", "method"])
    if {row["method"] for row in rows} != set(nets.METHOD_NAMES):
        raise UsageError(f"{path} lacks a method: run its command again")
    if unknown := {row["product"] for row in rows} - set(products.NAMES):
        raise UsageError(f"{path} is damaged: its product is {min(unknown)!r}")
    if not all(row["paths"] >= 1 and row["paths"] % 1 == 0 for row in rows):
        raise UsageError(f"{path} is damaged: paths are whole numbers")
    cells = {(row["product"], row["paths"]) for row in rows}
    if {(row["product"], row["paths"]) for row in rows if row["method"] == "values"} != cells:
        raise UsageError(f"{path} lacks a net on values only: run its command again")
    names = dict.fromkeys(row["product"] for row in rows)
    chosen = {name: products.make(name, flags["num_assets"]) for name in names}
    paths = [into / "errors.png"]
    files.write_png(paths[0], errors_figure(table.medians(rows), chosen), dpi=DPI)
    if not (folder / "nets").exists():
        print(f"{folder} has no nets: the curves are not drawn again")
        return paths
    smallest = min(int(row["paths"]) for row in rows)
    known = {name: flags[name] for name in ("seed", "num_assets")}
    for name, product in chosen.items():
        predicted = {
            method: nets.read_net(folder, name, smallest, method, **known)
            for method in nets.METHOD_NAMES
        }
        paths.append(into / f"curves-{name}.png")
        files.write_png(paths[-1], curves_figure(product, predicted, smallest), dpi=DPI)
    return paths


def names(chosen: Iterable[str]) -> list[str]:
    """Return the names of the files that `draw` writes for these products."""
    return ["errors.png", *(f"curves-{name}.png" for name in chosen)]


def errors_figure(
    medians: Sequence[Mapping[str, Any]], chosen: Mapping[str, products.Product]
) -> Figure:
    """Draw price and delta RMSE over the number of paths, a row for each product."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 2.9 * len(chosen) + 0.5), layout="constrained")
    panels = figure.subplots(len(chosen), 2, squeeze=False)
    for row, (name, product) in zip(panels, chosen.items(), strict=True):
        for axis, (measure, label) in zip(row, MEASURE_NAMES.items(), strict=True):
            for method, color in COLORS.items():
                cells = [m for m in medians if (m["product"], m["method"]) == (name, method)]
                paths, errors = [m["paths"] for m in cells], np.array([m[measure] for m in cells])
                axis.plot(paths, errors[:, 0], "o-", color=color, label=nets.METHOD_NAMES[method])
                axis.fill_between(paths, errors[:, 1], errors[:, 2], color=color, alpha=0.2, lw=0)
            axis.set(xscale="log", yscale="log", ylabel=label)
            axis.set_xticks(paths, [f"{count:,}" for count in paths])
            axis.set_xticks([], minor=True)
            axis.set_title(product.title, fontsize="medium")
            axis.spines[["top", "right"]].set_visible(False)
    for axis in panels[-1]:
        axis.set_xlabel("training paths")
    figure.suptitle("Median and range over the seeds", fontsize="medium")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def curves_figure(
    product: products.Product, predicted: Mapping[str, Mapping[str, np.ndarray]], paths: int
) -> Figure:
    """Draw predictions at test states over the underlying's level, beside the closed form.

    Args:
      product: what was priced.
      predicted: {method: a net's arrays}.
      paths: the number of training paths, for the title.
    """
    from matplotlib.figure import Figure

    test = product.prices(nets.TEST_POINTS, seed=(nets.TEST_SEED,))
    level = product.level(test.x)[: nets.CURVE_POINTS]
    order = np.argsort(level)
    price, delta = (label.reshape(len(label), -1)[: nets.CURVE_POINTS, 0] for label in test.labels)
    first = "delta" if product.num_assets == 1 else "delta of the first asset"
    measures = {"price": ("price", price), "delta": (first, delta)}
    figure = Figure(figsize=(3.2 * len(predicted), 5.6), layout="constrained")
    panels = figure.subplots(2, len(predicted), sharex=True, sharey="row")
    for column, (method, arrays) in zip(panels.T, predicted.items(), strict=True):
        for axis, (measure, (label, true)) in zip(column, measures.items(), strict=True):
            axis.plot(level[order], true[order], color="k", lw=1, label="closed form")
            axis.plot(level, arrays[measure], ".", ms=4, color=COLORS[method], label="predicted")
            axis.spines[["top", "right"]].set_visible(False)
            if method == next(iter(predicted)):
                axis.set_ylabel(label)
        column[0].set_title(nets.METHOD_NAMES[method], fontsize="medium")
        column[0].legend(frameon=False, fontsize="small")
    underlying = "spot" if product.num_assets == 1 else "basket"
    figure.supxlabel(f"{underlying} at T1", fontsize="medium")
    figure.suptitle(f"{product.title}, {paths:,} paths", fontsize="medium")
    return figure
