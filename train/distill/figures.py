"""Figure 4: test KL and action error, from a run folder only."""

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from train.distill import beside
from train.distill.students import METHODS
from train.lib.atari.titles import game_name, title
from train.lib.run import files, run_folder

COLORS = {"values": "C7", "sobolev": "C0"}
CONSTANT = "best constant policy"
MEASURES = {"test_kl": "test_kl, nats", "test_action_error": "test_action_error, %"}
# Ticks within a decade, by the widest axis that has room for them.
TICKS = {10: (1, 2, 3, 5, 7), 100: (1, 2, 5), np.inf: (1,)}
UNITS = {"test_kl": 1, "test_action_error": 100}
# Flags that change the figure's numbers, with their defaults: the title names those that differ.
TITLE = {
    "seed": 0,
    "steps": 2000,
    "batch_size": 200,
    "learning_rate": None,
    "alpha": None,
    "schedule": "constant",
    "divergence": "student_teacher",
    "num_projections": 1,
    "derivative_share": 1.0,
    "train_boundary": "step",
    "test_percent": None,
    "num_test_stacks": 10_000,
    "num_evals": 20,
    "learning_rates": ["3e-4", "1e-3", "3e-3"],
    "alphas": ["0.01", "0.03", "0.1"],
    "search_steps": 1000,
    "search_percent": 10,
}


def draw(folder: Path, into: Path | None = None) -> list[Path]:
    """Draw the figure of a finished run into the folder `into`, or its own; return [its path].

    Where the run has no net of values only, those of a run beside it are drawn; and the best
    constant policy, if this run or one beside it knows it.

    Raises UsageError if a file of the run is damaged.
    """
    folder = Path(folder)
    flags = run_folder.read_config(
        folder / "config.json", ["game"], flags={"game": str, "seed": int}
    )["flags"]
    rows = beside.read_rows(folder)
    shares = sorted({row["train_percent"] for row in rows})
    path = Path(into or folder) / "figure4.png"
    values, source = beside.values_only(folder, shares)
    if any(row["method"] == "values" for row in rows):
        values, source = [], ""
    figure = figure4(
        rows + values,
        heading(flags) + chosen(folder),
        beside.constant_policies(folder),
        values_from=source,
    )
    files.write_png(path, figure, dpi=100)
    return [path]


def heading(flags: Mapping[str, Any]) -> str:
    """Return the figure's title.

    Args:
      flags: those of the run; what a search would have chosen from is left out without a search.

    Example:

    >>> print(heading({"game": "pong", "steps": 9000, "alpha": 0.01, "alphas": ["1", "2"]}))
    Distillation, Pong, one seed
    steps=9000, alpha=0.01
    """
    unused = set()
    if flags.get("learning_rate") is not None:
        unused.add("learning_rates")
    if flags.get("alpha") is not None:
        unused.add("alphas")
    if unused == {"learning_rates", "alphas"}:
        unused |= {"search_steps", "search_percent"}
    shown = {name: default for name, default in TITLE.items() if name not in unused}
    return title(f"Distillation, {game_name(flags['game'])}, one seed", flags, shown)


def chosen(folder: Path) -> str:
    """Return a line of the title: rate and alpha, if a search has chosen them for all nets."""
    flags, rates, alphas = beside.choices(folder)
    lines = []
    if flags.get("learning_rate") is None and len(rates) == 1:
        lines.append(f"learning_rate={rates[0]:g}")
    if flags.get("alpha") is None and len(alphas) == 1:
        lines.append(f"alpha={alphas[0]:g}")
    return f"\nchosen: {', '.join(lines)}" if lines else ""


def later_half(
    rows: Iterable[Mapping[str, Any]],
) -> dict[tuple[float, str], dict[str, tuple[float, float, float]]]:
    """Return mean, lowest and highest of each measure over the later half of the tests.

    One test is noisy: the rate does not fall, and KL goes up and down with every test.

    Args:
      rows: rows of metrics.csv.

    Returns:
      {(percent, method): {measure: (mean, lowest, highest)}}.
    """
    tests: dict[tuple[float, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        tests.setdefault((row["train_percent"], row["method"]), []).append(row)
    half = {key: group[len(group) // 2 :] for key, group in sorted(tests.items())}
    return {
        key: {name: _spread([float(row[name]) for row in group]) for name in MEASURES}
        for key, group in half.items()
    }


def _spread(numbers):
    return statistics.mean(numbers), min(numbers), max(numbers)


def figure4(
    rows: list[dict[str, Any]],
    suptitle: str,
    constant: Mapping[float, Mapping[str, float]] | None = None,
    values_from: str = "",
) -> Any:
    """Return the figure: a row for each measure; a panel for each share, over training.

    Where there are several shares, a last panel has the means over the later half of the tests,
    and their range, over the shares. With one share the two measures stand side by side.

    Args:
      rows: rows of metrics.csv.
      suptitle: title of the figure.
      constant: {share: {measure: that of the best constant policy}}.
      values_from: the run that the rows of values only are from, if not this one.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    shares = sorted({row["train_percent"] for row in rows})
    several = len(shares) > 1
    width = 2.2 * (len(shares) + 1) + 0.8 if several else 7.4
    figure = Figure(figsize=(width, 5.2 if several else 3.5), layout="constrained")
    if several:
        panels = figure.subplots(2, len(shares) + 1, squeeze=False, sharey="row")
    else:
        panels = figure.subplots(1, 2, squeeze=False).T
    for axis, share in zip(panels[0], shares, strict=False):
        axis.set_title(f"{share:g} % for training", fontsize="medium")
    for line, (measure, label) in zip(panels, MEASURES.items(), strict=True):
        for axis, share in zip(line, shares, strict=False):
            _over_training(axis, [row for row in rows if row["train_percent"] == share], measure)
            if known := (constant or {}).get(share):
                height = UNITS[measure] * known[measure]
                axis.axhline(height, color="0.5", linestyle=":", label=CONSTANT, zorder=0)
        if several:
            _over_shares(line[-1], later_half(rows), shares, measure)
        line[0].set_ylabel(label)
    if several:
        panels[0, -1].set_title("mean and range,\nlater half of tests", fontsize="medium")
    else:
        panels[1, 0].set_title(panels[0, 0].get_title(), fontsize="medium")
    kl = panels[0, 0]
    kl.set_yscale("log")
    low, high = kl.get_ylim()
    subs = next(subs for widest, subs in TICKS.items() if high < widest * low)
    kl.yaxis.set_major_locator(LogLocator(subs=subs))
    kl.yaxis.set_major_formatter("{x:g}")
    kl.yaxis.set_minor_formatter(NullFormatter())
    panels[1, 0].set_ylim(bottom=0)
    # Of all panels: a share may have one method only.
    lines = {line.get_label(): line for axis in panels[0, : len(shares)] for line in axis.lines}
    order = [name for name in (*METHODS.values(), CONSTANT) if name in lines]
    renamed = {METHODS["values"]: f"{METHODS['values']} (of {values_from})"} if values_from else {}
    figure.legend(
        [lines[name] for name in order],
        [renamed.get(name, name) for name in order],
        loc="outside lower center",
        ncols=len(order),
        frameon=False,
        fontsize="small",
    )
    for axis in panels.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize="small")
    figure.suptitle(suptitle, fontsize="medium")
    return figure


def _over_training(axis, rows, measure):
    for method, color in COLORS.items():
        chosen = [row for row in rows if row["method"] == method]
        if chosen:
            steps = [row["step"] for row in chosen]
            values = [UNITS[measure] * row[measure] for row in chosen]
            axis.plot(steps, values, ".-", color=color, label=METHODS[method])
    axis.set_xlabel("training step")


def _over_shares(axis, means, shares, measure):
    for method, color in COLORS.items():
        spreads = {
            share: measures[measure] for (share, name), measures in means.items() if name == method
        }
        if spreads:
            mean, low, high = UNITS[measure] * np.transpose(list(spreads.values()))
            error = [mean - low, high - mean]
            axis.errorbar(list(spreads), mean, yerr=error, capsize=3, fmt="o-", color=color)
    axis.set(xscale="log", xlabel="% for training")
    axis.set_xticks(shares, [f"{share:g}" for share in shares])
    axis.set_xticks([], minor=True)
