"""Medians over seeds, and the table that a run ends with."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from train.lib.run import text_table
from train.lib.run.cells import median_and_range
from train.regression import recipes

MEASURES = ("test_mse", "gradient_mse")


def medians(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Group the rows of metrics.csv by function, size and method.

    Returns:
      A dict for each group: function, size, method, and [median, lowest, highest] of each measure.
    """
    groups: dict[tuple[str, int, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["function"], int(row["size"]), row["method"]), []).append(row)
    return [
        {"function": function, "size": size, "method": method}
        | {name: median_and_range([float(row[name]) for row in group]) for name in MEASURES}
        for (function, size, method), group in sorted(groups.items())
    ]


def sobolev_lower(medians: Sequence[Mapping[str, Any]]) -> dict[int, list[int]]:
    """Count the functions on which Sobolev's median test MSE is below that of values only.

    Returns:
      {size: [how many functions, of how many]}.
    """
    test_mse = {(m["function"], m["size"], m["method"]): m["test_mse"][0] for m in medians}
    sizes = sorted({m["size"] for m in medians})
    functions = sorted({m["function"] for m in medians})
    return {
        size: [
            sum(test_mse[f, size, "sobolev"] < test_mse[f, size, "values"] for f in functions),
            len(functions),
        ]
        for size in sizes
    }


def text(medians: Iterable[Mapping[str, Any]]) -> str:
    """Return the test errors as aligned text: the median, and the range over the seeds."""
    header = ["function", "points", "method", "test MSE", "(range)", "gradient MSE", "(range)"]
    rows = []
    for m in medians:
        cells = [m["function"][:30], m["size"], recipes.METHOD_NAMES[m["method"]]]
        for name in MEASURES:
            median, low, high = m[name]
            cells += [f"{median:.3g}", f"({low:.2g} to {high:.2g})"]
        rows.append(cells)
    return text_table.table(header, rows)
