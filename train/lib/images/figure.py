"""The figure of a run: its accuracy over steps, and its synthetic gradients beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from train.lib.run import files
from train.lib.run.line_labels import label_ends

PANELS = {  # of each cut, by the end of the log's name
    "cosine": "cosine of synthetic and true gradient",
    "norm_ratio": "norm of synthetic over true gradient",
}
WIDTH = 4.8  # inches of a panel with its labels
STYLES = {"val_accuracy": "C0o-", "accuracy": "C7.-"}
NAMES = {"val_accuracy": "val_accuracy", "accuracy": "accuracy\n(training)"}


def draw(
    path: Path,
    title: str,
    rows: Sequence[Mapping[str, float]],
    cuts: Sequence[str],
    baselines: Mapping[str, float],
) -> None:
    """Draw the accuracy and, if they were measured, cosine and norm ratio at each cut.

    Args:
      path: the PNG file.
      title: title of the figure, one line or more.
      rows: those of metrics.csv.
      cuts: names of the layers, the lowest first.
      baselines: {label: accuracy}, drawn as horizontal lines.
    """
    # The object interface: pyplot would keep global state and look for a screen.
    from matplotlib.figure import Figure

    panels = PANELS if cuts and "cut1_cosine" in rows[-1] else {}
    figure = Figure(figsize=(WIDTH * (1 + len(panels)), 3.6), layout="constrained")
    accuracy, *others = figure.subplots(1, 1 + len(panels), squeeze=False)[0]
    _draw_accuracy(accuracy, rows, baselines)
    for axis, (name, label) in zip(others, panels.items(), strict=True):
        _draw_diagnostic(axis, rows, cuts, name)
        axis.set_title(label, fontsize="medium")
    for axis in (accuracy, *others):
        axis.set_xlabel("training step")
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize="medium")
    files.write_png(path, figure, dpi=110)


def cut_labels(cuts: Sequence[str]) -> list[str]:
    """Name cuts for people, the lowest first.

    >>> cut_labels(["conv1_out", "conv3_out"])
    ['cut 1 (lowest)', 'cut 2 (top)']
    """
    ends = {1: " (lowest)", len(cuts): " (top)"} if len(cuts) > 1 else {}
    return [f"cut {k}{ends.get(k, '')}" for k in range(1, len(cuts) + 1)]


def _draw_accuracy(axis, rows, baselines):
    steps = [row["step"] for row in rows]
    ends = []
    for name, style in STYLES.items():
        percent = [100 * row[name] for row in rows]
        axis.plot(steps, percent, style, label=name)
        ends.append((NAMES[name], percent[-1], style[:2]))
    for label, share in baselines.items():
        axis.axhline(100 * share, color="0.5", linestyle=":", linewidth=1, label=label, zorder=0)
        ends.append((label, 100 * share, "0.35"))
    axis.set_title("accuracy, %", fontsize="medium")
    axis.set_ylim(bottom=0)
    label_ends(axis, ends)


def _draw_diagnostic(axis, rows, cuts, name):
    steps = [row["step"] for row in rows]
    axis.axhline(1, color="0.8", zorder=0)
    ends: list[tuple[str, float, str]] = []
    lowest = 0.0
    for k, label in enumerate(cut_labels(cuts), 1):
        values = [row[f"cut{k}_{name}"] for row in rows]
        lowest = min(lowest, *values)
        axis.plot(steps, values, f"C{k - 1}o-", label=label, clip_on=False)
        ends.append((label, values[-1], f"C{k - 1}"))
    axis.set_ylim(lowest, 1 if name == "cosine" else None)
    label_ends(axis, ends)
