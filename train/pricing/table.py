"""Medians over seeds, and the table that a run ends with."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from train.lib.run import text_table
from train.lib.run.cells import median_and_range
from train.pricing import nets

MEASURES = ("price_rmse", "delta_rmse")


def medians(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Group the rows of metrics.csv by product, paths and method.

    Returns:
      A dict for each group: product, paths, method, and [median, lowest, highest] of each measure.
    """
    groups: dict[tuple[str, int, int], list[Mapping[str, Any]]] = {}
    methods = list(nets.METHOD_NAMES)
    for row in rows:
        key = row["product"], int(row["paths"]), methods.index(row["method"])
        groups.setdefault(key, []).append(row)
    return [
        {"product": product, "paths": paths, "method": methods[method]}
        | {name: median_and_range([float(row[name]) for row in group]) for name in MEASURES}
        for (product, paths, method), group in sorted(groups.items())
    ]


def over_values_only(medians: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Divide each Sobolev method's median errors by those of values only.

    Returns:
      A dict for each: product, paths, method, and the ratio of each measure.
    """
    errors = {(m["product"], m["paths"], m["method"]): m for m in medians}
    return [
        {"product": product, "paths": paths, "method": method}
        | {name: m[name][0] / errors[product, paths, "values"][name][0] for name in MEASURES}
        for (product, paths, method), m in errors.items()
        if method != "values"
    ]


def text(medians: Iterable[Mapping[str, Any]]) -> str:
    """Return the test errors as aligned text: the median, and the range over the seeds."""
    header = ["product", "paths", "method", "price RMSE", "(range)", "delta RMSE", "(range)"]
    rows = []
    for m in medians:
        cells = [m["product"], f"{m['paths']:,}", nets.METHOD_NAMES[m["method"]]]
        for name in MEASURES:
            median, low, high = m[name]
            cells += [f"{median:.2g}", f"({low:.2g} to {high:.2g})"]
        rows.append(cells)
    return text_table.table(header, rows)
