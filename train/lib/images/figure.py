"""The figure of a run: its accuracy over steps, and its synthetic gradients beside it."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from train.lib.run import files

PANELS = {  # of each cut, by the end of the log's name
    "cosine": "cosine of SG and dL/dh",
    "norm_ratio": "norm ratio |SG| / |dL/dh|",
}
WIDTH = 4.6  # inches of a panel


def draw(
    path: Path,
    title: str,
    rows: Sequence[Mapping[str, float]],
    cuts: Sequence[str],
    baselines: Mapping[str, float],
) -> None:
    """Draw the accuracy and, where they were measured, cosine and norm ratio at each cut.

    Args:
      path: the PNG file.
      title: of the figure; wrapped to its width.
      rows: those of metrics.csv.
      cuts: names of the layers.
      baselines: {label: accuracy}, drawn as horizontal lines.
    """
    # The object interface: pyplot would keep global state and look for a screen.
    from matplotlib.figure import Figure

    panels = PANELS if cuts and "cut1_cosine" in rows[-1] else {}
    width = WIDTH * (1 + len(panels))
    figure = Figure(figsize=(width, 4.0), layout="constrained")
    accuracy, *others = figure.subplots(1, 1 + len(panels), squeeze=False)[0]
    _draw_accuracy(accuracy, rows, baselines)
    for axis, (name, label) in zip(others, panels.items(), strict=True):
        _draw_diagnostic(axis, rows, cuts, name)
        axis.set_ylabel(label)
    for axis in (accuracy, *others):
        axis.set_xlabel("training step")
        axis.legend(frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1))
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(textwrap.fill(title, int(14 * width)), fontsize="medium")
    with files.replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _draw_accuracy(axis, rows, baselines):
    steps = [row["step"] for row in rows]
    for name, style in {"accuracy": "C7.-", "val_accuracy": "C0o-"}.items():
        axis.plot(steps, [100 * row[name] for row in rows], style, label=name)
    for style, (label, share) in zip([":", "--"], baselines.items(), strict=False):
        axis.axhline(100 * share, color="0.4", linestyle=style, label=label)
    axis.set_ylabel("accuracy, %")
    axis.set_ylim(bottom=0)


def _draw_diagnostic(axis, rows, cuts, name):
    steps = [row["step"] for row in rows]
    axis.axhline(1, color="0.8", zorder=0)
    for k, cut in enumerate(cuts, 1):
        log = f"cut{k}_{name}"
        axis.plot(steps, [row[log] for row in rows], f"C{k - 1}o-", label=f"{log} ({cut})")
    if name == "cosine":
        axis.set_ylim(top=1)
