"""Medians over seeds, and the tables that a run ends with."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from train.forces import clusters, dynamics, recipes
from train.lib.run import text_table
from train.lib.run.cells import median_and_range


def medians(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Group the rows of metrics.csv by system and method.

    Returns:
      A dict for each group: system, method, [median, lowest, highest] of each error, and the
      median force RMSE over that of values only.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["system"], row["method"]), []).append(row)
    spreads = {
        key: {
            name: median_and_range([float(row[name]) for row in group]) for name in recipes.MEASURES
        }
        for key, group in groups.items()
    }
    return [
        {
            "system": system,
            "method": method,
            **spread,
            "force_ratio": spread["force_rmse"][0] / spreads[system, "values"]["force_rmse"][0],
        }
        for (system, method), spread in spreads.items()
    ]


def text(medians: Iterable[Mapping[str, Any]]) -> str:
    """Return the test errors as aligned text: the median, and the range over the seeds."""
    header = ["system", "method", "energy, meV", "(range)", "force, meV/Å", "(range)", "ratio"]
    rows = []
    for m in medians:
        cells = [clusters.SYSTEM_NAMES[m["system"]], recipes.METHOD_NAMES[m["method"]]]
        for name in ("energy_rmse", "force_rmse"):
            median, low, high = m[name]
            cells += [f"{median:.1f}", f"({low:.1f} to {high:.1f})"]
        rows.append([*cells, f"{m['force_ratio']:.2f}"])
    return text_table.table(header, rows)


def drifts(runs: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return, by method and for "emt", what a run's energies did, in meV.

    `drift` is the largest change of the total energy; `off` the deviation from EMT's energies
    along the run.
    """
    return {
        name: {
            "drift": dynamics.drift(run[:, 1]),
            "off": float(recipes.MILLI * np.std(run[:, 1] - run[:, 2])),
        }
        for name, run in runs.items()
    }


def drift_text(drifts: Mapping[str, Mapping[str, float]]) -> str:
    """Return the drifts as aligned text."""
    rows = [
        [recipes.METHOD_NAMES.get(name, "EMT itself"), f"{d['drift']:.1f}", f"{d['off']:,.1f}"]
        for name, d in drifts.items()
    ]
    return text_table.table(["forces by", "drift, meV", "off EMT, meV"], rows)
