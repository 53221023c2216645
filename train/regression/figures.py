"""The paper's figures 2 (right), 3 and 5 to 11, from a run folder only."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.lib.run import files, metrics_csv, run_folder, schema
from train.lib.run.errors import UsageError
from train.regression import error_figure, functions, recipes, surfaces, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAGS: dict[str, schema.Kind] = {
    "preset": str,
    "domain": (list, type(None)),
    "seed": int,
    "hidden": list,
}


def draw(folder: Path, into: Path | None = None) -> list[Path]:
    """Draw all figures of a finished run; without its nets, only figure 2.

    Runs of `--suite=engineering` have no figure.

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
    if flags.get("suite") == "engineering":
        print(f"{folder} is a run of --suite=engineering, which has no figure")
        return []
    if flags["preset"] not in recipes.PRESETS:
        raise UsageError(f"{path} is damaged: its preset is {flags['preset']!r}")
    path = folder / "metrics.csv"
    rows = metrics_csv.read_rows(path, ["size", *table.MEASURES], ["function", "method"])
    if not all(row["size"] >= 1 and row["size"] % 1 == 0 for row in rows):
        raise UsageError(f"{path} is damaged: sizes are whole numbers; run its command again")
    if {row["method"] for row in rows} != set(recipes.NUM_LABELS):
        raise UsageError(f"{path} lacks a method: run its command again")
    paths = [into / "figure2.png"]
    medians = table.medians(rows)
    seeds = len(rows) // len(medians)
    deviations = {
        name: error_figure.deviation(name, flags["domain"])
        for name in dict.fromkeys(row["function"] for row in rows)
    }
    title = f"Section 4.1, {recipe_title(flags)}, {count_of_seeds(seeds)}"
    _save(error_figure.errors_figure(medians, deviations, title, seeds), paths[0])
    if not (folder / "nets").exists():
        print(f"{folder} has no nets: the surfaces are not drawn again")
        return paths
    size = min(int(row["size"]) for row in rows)
    for name in dict.fromkeys(row["function"] for row in rows):
        function = functions.resolve(name, None if name in functions.SEVEN else flags["domain"])
        nets = surfaces.predicted_jets(
            folder, name, size, flags["seed"], deviations[name], preset=flags["preset"]
        )
        jets = {"f(x, y)": surfaces.true_jet(function)} | nets
        points = functions.labeled_points(function, size, seed=(flags["seed"], size)).x
        paths.append(into / f"surfaces-{recipes.file_name(name)}.png")
        _save(surfaces.surfaces_figure(function, jets, points), paths[-1])
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


def count_of_seeds(seeds: int) -> str:
    """Return the number of seeds in words.

    >>> count_of_seeds(1), count_of_seeds(3)
    ('one seed', '3 seeds')
    """
    return "one seed" if seeds == 1 else f"{seeds} seeds"


def _save(figure: Figure, path: Path) -> None:
    """Write a PNG of 256 colors, which is a third as large."""
    from PIL import Image

    with io.BytesIO() as full:
        figure.savefig(full, format="png", dpi=90)
        with Image.open(full) as image:
            small = image.convert("RGB").quantize(
                256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
            )
    with files.replacing(path) as file:
        small.save(file, format="png", optimize=True)
