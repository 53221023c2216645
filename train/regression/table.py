"""Medians over seeds, and the table that a run ends with."""

import statistics

from train.lib.run import report

MEASURES = ("test_mse", "gradient_mse")


def medians(rows):
    """[{function, size, method, and of each measure [median, lowest, highest]}] of metrics.csv."""
    groups = {}
    for row in rows:
        groups.setdefault((row["function"], int(row["size"]), row["method"]), []).append(row)
    return [
        {"function": function, "size": size, "method": method}
        | {name: _spread([float(row[name]) for row in group]) for name in MEASURES}
        for (function, size, method), group in sorted(groups.items())
    ]


def counts(medians):
    """{size: [on how many functions Sobolev's median test MSE is below values', of how many]}."""
    by = {(m["function"], m["size"], m["method"]): m["test_mse"][0] for m in medians}
    sizes = sorted({m["size"] for m in medians})
    functions = sorted({m["function"] for m in medians})
    return {
        size: [
            sum(by[f, size, "sobolev"] < by[f, size, "values"] for f in functions),
            len(functions),
        ]
        for size in sizes
    }


def text(medians):
    """Test errors by function, size and method: median, and in brackets the seeds' spread."""
    header = ["function", "points", "method", "test MSE", "(of the seeds)", "gradient MSE", ""]
    rows = []
    for m in medians:
        cells = [m["function"][:30], m["size"], m["method"]]
        for name in MEASURES:
            median, low, high = m[name]
            cells += [f"{median:.3g}", f"({low:.2g} to {high:.2g})"]
        rows.append(cells)
    return report.table(header, rows)


def _spread(numbers):
    return [statistics.median(numbers), min(numbers), max(numbers)]
