"""Figure 4: test KL and action-prediction error, from a run folder and nothing else."""

import statistics
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from train.lib.run import files, metrics_csv, run_folder

COLOURS = {"regular": "C7", "sobolev": "C0"}
NAMES = {"regular": "regular", "sobolev": "Sobolev"}
MEASURES = {"test_kl": "test KL", "test_action_error": "test action error, %"}
UNITS = {"test_kl": 1, "test_action_error": 100}


def draw(folder, into=None):
    """Draws the figure of a finished run into the folder `into`, or its own; [its path].

    Raises UsageError where what the run has left is damaged.
    """
    folder = Path(folder)
    settings = run_folder.read_config(folder / "config.json", ["game"])["flags"]
    rows = metrics_csv.read_rows(folder / "metrics.csv", ["percent", "step", *MEASURES], ["method"])
    path = Path(into or folder) / "figure4.png"
    with files.replacing(path) as file:
        figure4(rows, settings["game"]).savefig(file, format="png", dpi=110)
    return [path]


def later_half(rows):
    """{(percent, method): {measure: (mean, lowest, highest)}} over the later half of the tests.

    rows: of metrics.csv. One test alone says little: the rate does not fall, and KL goes up and
    down with every test.
    """
    tests = {}
    for row in rows:
        tests.setdefault((row["percent"], row["method"]), []).append(row)
    half = {key: group[len(group) // 2 :] for key, group in sorted(tests.items())}
    return {
        key: {name: _spread([float(row[name]) for row in group]) for name in MEASURES}
        for key, group in half.items()
    }


def _spread(numbers):
    return statistics.mean(numbers), min(numbers), max(numbers)


def figure4(rows, game):
    """A row for each measure; a panel for each share, over training, and one over the shares.

    The last one has means over the later half of the tests, and their range.
    """
    shares = sorted({row["percent"] for row in rows})
    columns = len(shares) + (len(shares) > 1)
    figure = Figure(figsize=(max(2.2 * columns + 0.8, 4.4), 4.8), layout="constrained")
    panels = figure.subplots(2, columns, squeeze=False, sharey="row")
    titles = [f"{share:g} % for training" for share in shares] + ["later half of the tests"]
    for axis, title in zip(panels[0], titles, strict=False):
        axis.set_title(title, fontsize="medium")
    for line, (measure, label) in zip(panels, MEASURES.items(), strict=True):
        for axis, share in zip(line, shares, strict=False):
            _over_training(axis, [row for row in rows if row["percent"] == share], measure)
        if len(shares) > 1:
            _over_shares(line[-1], later_half(rows), shares, measure)
        line[0].set_ylabel(label)
    kl = panels[0, 0]
    kl.set_yscale("log")
    kl.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    kl.yaxis.set_major_formatter("{x:g}")
    kl.yaxis.set_minor_formatter(NullFormatter())
    # Of all panels: a share may have one method alone.
    lines = {line.get_label(): line for axis in panels[0, : len(shares)] for line in axis.lines}
    kl.legend(lines.values(), lines.keys(), frameon=False, fontsize="small")
    for axis in panels.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize="small")
    figure.suptitle(f"Distillation, {game}", fontsize="medium")
    return figure


def _over_training(axis, rows, measure):
    for method, colour in COLOURS.items():
        chosen = [row for row in rows if row["method"] == method]
        if chosen:
            steps = [row["step"] for row in chosen]
            values = [UNITS[measure] * row[measure] for row in chosen]
            axis.plot(steps, values, ".-", color=colour, label=NAMES[method])
    axis.set_xlabel("training step")


def _over_shares(axis, means, shares, measure):
    for method, colour in COLOURS.items():
        found = {share: each[measure] for (share, name), each in means.items() if name == method}
        if found:
            mean, low, high = UNITS[measure] * np.transpose([*found.values()])
            bars = {"yerr": [mean - low, high - mean], "capsize": 3}
            axis.errorbar([*found], mean, fmt="o-", color=colour, **bars)
    axis.set(xscale="log", xlabel="% for training")
    axis.set_xticks(shares, [f"{share:g}" for share in shares])
    axis.set_xticks([], minor=True)
