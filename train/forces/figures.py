"""The figures of a run, from its folder only: errors, forces, and energy over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from train.forces import clusters, dynamics, recipes, table
from train.lib.run import files, metrics_csv, run_folder, schema
from train.lib.run.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120
COLORS = {"values": "C7", "half": "C2", "sobolev": "C0", "emt": "k"}
NAMES = ("errors.png", "forces.png", "dynamics.png")
FLAGS: dict[str, schema.Kind] = {"seed": int, "md_steps": int, "system": list}


def draw(folder: Path, into: Path | None = None) -> list[Path]:
    """Draw the figures of a finished run; without its nets, the errors only.

    Args:
      folder: the run's folder.
      into: where the figures go; default: the run's folder.

    Returns:
      The paths of the figures.

    Raises:
      UsageError: the folder holds no finished run of train.forces, or lacks a file of it.
    """
    folder = Path(folder)
    into = Path(into or folder)
    path = folder / "config.json"
    flags = run_folder.read_config(path, list(FLAGS), flags=FLAGS)["flags"]
    if not flags["system"] or flags["system"][0] not in clusters.SYSTEMS:
        raise UsageError(f"{path} is damaged: its systems are {flags['system']}")
    path = folder / "metrics.csv"
    rows = metrics_csv.read_rows(path, ["seed", *recipes.MEASURES], ["system", "method"])
    known = {row["system"] for row in rows} <= set(clusters.SYSTEMS)
    if not known or {row["method"] for row in rows} != set(recipes.METHOD_NAMES):
        raise UsageError(f"{path} lacks a method: run its command again")
    systems = {row["system"] for row in rows}
    if {row["system"] for row in rows if row["method"] == "values"} != systems:
        raise UsageError(f"{path} lacks a net on values only: run its command again")
    drawn = {"errors.png": errors_figure(rows)}
    if (folder / "nets").exists():
        system = flags["system"][0]
        true = clusters.read(folder, system, clusters.NUM_TEST, clusters.TEST_SEED)
        predicted = {
            method: recipes.read_net(folder, system, method, flags["seed"])["forces"]
            for method in recipes.METHOD_NAMES
        }
        drawn["forces.png"] = forces_figure(true, predicted, system)
        names = ["emt", *recipes.METHOD_NAMES]
        stated = {"system": system, "md_steps": flags["md_steps"], "seed": flags["seed"]}
        runs = {name: dynamics.read(folder, {**stated, "method": name}) for name in names}
        drawn["dynamics.png"] = dynamics_figure(runs, system)
    else:
        print(f"{folder} has no nets: forces and energies over time are not drawn again")
    for name, figure in drawn.items():
        files.write_png(into / name, figure, dpi=DPI)
    return [into / name for name in drawn]


def errors_figure(rows: list[dict[str, Any]]) -> Figure:
    """Draw energy and force RMSE, a bar for each method and a dot for each seed."""
    from matplotlib.figure import Figure

    medians = table.medians(rows)
    systems = list(dict.fromkeys(m["system"] for m in medians))
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    labels = {"energy_rmse": "energy RMSE, meV", "force_rmse": "force RMSE, meV/Å"}
    methods = list(recipes.METHOD_NAMES)
    for axis, (measure, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        for number, method in enumerate(methods):
            places = np.arange(len(systems)) + 0.27 * (number - 1)
            chosen = [m for m in medians if m["method"] == method]
            heights = [m[measure][0] for m in chosen]
            name = recipes.METHOD_NAMES[method]
            axis.bar(places, heights, 0.25, color=COLORS[method], label=name)
            for place, system in zip(places, systems, strict=True):
                key = (system, method)
                dots = [r[measure] for r in rows if (r["system"], r["method"]) == key]
                axis.plot([place] * len(dots), dots, "k.", markersize=4)
            for place, height in zip(places, heights, strict=True):
                axis.annotate(f"{height:.0f}", (place, 0), ha="center", va="bottom", color="w")
        axis.set_xticks(range(len(systems)), [clusters.SYSTEM_NAMES[s] for s in systems])
        axis.set_ylabel(label)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def forces_figure(
    true: clusters.Configurations, predicted: Mapping[str, np.ndarray], system: str
) -> Figure:
    """Draw predicted over true force components, a panel for each method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, len(predicted), sharex=True, sharey=True)
    known = true.is_atom
    x = true.forces[known].ravel()
    ends = [np.min(x), np.max(x)]
    for axis, (method, forces) in zip(panels, predicted.items(), strict=True):
        error = recipes.rmse(forces, true.forces)
        axis.plot(x, forces[known].ravel(), ".", color=COLORS[method], markersize=1.5)
        axis.plot(ends, ends, "k-", lw=0.7)
        axis.set_title(f"{recipes.METHOD_NAMES[method]}\n{error:.0f} meV/Å", fontsize=9)
        axis.set_xlabel("EMT, eV/Å")
    panels[0].set_ylabel("predicted, eV/Å")
    figure.suptitle(
        f"Force components of {len(known)} held-out configurations of "
        f"{clusters.SYSTEM_NAMES[system]}",
        fontsize=10,
    )
    return figure


def dynamics_figure(runs: Mapping[str, np.ndarray], system: str) -> Figure:
    """Draw the total energy over time, and how far it is from EMT's along the same run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, run in runs.items():
        label = recipes.METHOD_NAMES.get(name, "EMT itself")
        style = {"color": COLORS[name], "label": label, "lw": 1}
        left.plot(run[:, 0], recipes.MILLI * (run[:, 1] - run[0, 1]), **style)
        if name != "emt":
            off = (run[:, 1] - run[:, 2]) - (run[0, 1] - run[0, 2])
            right.plot(run[1:, 0], recipes.MILLI * np.abs(off[1:]), **style)
    title = f"{clusters.SYSTEM_NAMES[system]}: change of the total energy"
    left.set(title=title, ylabel="meV", xlabel="time, ps")
    title = "distance from EMT's energy on the same path"
    right.set(title=title, ylabel="meV", xlabel="time, ps", yscale="log")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure
