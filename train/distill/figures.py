"""Figure 4: test KL and action-prediction error, from a run folder and nothing else."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from train.lib import files, history, runs

COLOURS = {"regular": "C7", "sobolev": "C0"}
NAMES = {"regular": "regular", "sobolev": "Sobolev"}
MEASURES = {"test_kl": "test KL", "test_action_error": "test action error"}


def draw(folder, into=None):
    """Draws the figure of a finished run into the folder `into`, or its own; [its path].

    Raises UsageError where what the run has left is damaged.
    """
    folder = Path(folder)
    settings = runs.read_config(folder / "config.json", ["game"])["flags"]
    rows = history.checked_rows(folder / "metrics.csv", ["percent", "step", *MEASURES], ["method"])
    path = Path(into or folder) / "figure4.png"
    with files.replacing(path) as file:
        figure4(rows, settings["game"]).savefig(file, format="png", dpi=110)
    return [path]


def figure4(rows, game):
    """A row for each measure; a panel for each share, over training, and one over the shares."""
    shares = sorted({row["percent"] for row in rows})
    columns = len(shares) + (len(shares) > 1)
    figure = Figure(figsize=(max(2.2 * columns + 0.8, 4.4), 4.8), layout="constrained")
    panels = figure.subplots(2, columns, squeeze=False, sharey="row")
    for axis, share in zip(panels[0], shares, strict=False):
        axis.set_title(f"{share:g} % for training", fontsize="medium")
    if len(shares) > 1:
        panels[0, -1].set_title("at the end", fontsize="medium")
    for line, (measure, label) in zip(panels, MEASURES.items(), strict=True):
        for axis, share in zip(line, shares, strict=False):
            for method, colour in COLOURS.items():
                chosen = [r for r in rows if (r["percent"], r["method"]) == (share, method)]
                _plot(axis, [(r["step"], r[measure]) for r in chosen], method, ".-", colour)
            axis.set_xlabel("training step")
        if len(shares) > 1:
            axis = line[-1]
            for method, colour in COLOURS.items():
                last = {r["percent"]: r[measure] for r in rows if r["method"] == method}
                _plot(axis, last.items(), method, "o-", colour)
            axis.set(xscale="log", xlabel="% for training")
            axis.set_xticks(shares, [f"{share:g}" for share in shares])
            axis.set_xticks([], minor=True)
        line[0].set_ylabel(label)
        if measure == "test_kl":
            line[0].set_yscale("log")
            line[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            line[0].yaxis.set_major_formatter("{x:g}")
            line[0].yaxis.set_minor_formatter(NullFormatter())
    lines = [line for axis in panels[0] for line in axis.get_lines()]  # a share may have one method
    told = {line.get_label(): line for line in lines}
    panels[0, 0].legend(told.values(), told.keys(), frameon=False, fontsize="small")
    for axis in panels.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize="small")
    figure.suptitle(f"Distillation, {game}", fontsize="medium")
    return figure


def _plot(axis, points, method, style, colour):
    if points:
        axis.plot(*zip(*points, strict=True), style, color=colour, label=NAMES[method])
