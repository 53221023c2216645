"""What a run of a split network ends with: two tables, a figure, and a checked SavedModel."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from sobolev_tf.keras_support import directories
from train.lib.run import files
from train.lib.run.errors import CommandError

DIAGNOSTICS = {
    "loss": "|m - L|",
    "gradient_loss": "|SG - dL/dh|",
    "cosine": "cosine",
    "norm_ratio": "norm ratio",
    "accuracy": "accuracy of m",
}


def table(header, rows):
    """Aligned text: the first column to the left, the others to the right.

    >>> print(table(["", "top-1"], [["network", "45.0 %"], ["chance", "10.0 %"]]))
             top-1
    network 45.0 %
    chance  10.0 %
    """
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def percent(share):
    """A share of one as per cent; empty for None."""
    return "" if share is None else f"{100 * share:.1f} %"


def diagnostics_table(cuts, row):
    """The diagnostics of each cut in one row of metrics.csv; None where there are none."""
    known = [key for key in DIAGNOSTICS if f"cut1_{key}" in row]
    rows = [
        [name, *(f"{row[f'cut{k}_{key}']:.3g}" for key in known)]
        for k, name in enumerate(cuts, 1)
        if known
    ]
    return table(["cut", *(DIAGNOSTICS[key] for key in known)], rows) if rows else None


def over_seeds(folder, seeds, summaries):
    """Writes seeds.json: mean and sample deviation of the accuracy; returns it as a line."""
    top1 = np.array([summary["top1"] for summary in summaries])
    deviation = float(top1.std(ddof=1)) if len(top1) > 1 else None
    facts = {key: summaries[0][key] for key in ("net", "method", "splits", "steps")}
    facts |= {"dataset": summaries[0]["dataset"]["name"], "seeds": seeds, "top1": top1.tolist()}
    facts |= {"mean": float(top1.mean()), "deviation": deviation}
    files.write_json(Path(folder, "seeds.json"), facts)
    spread = "" if deviation is None else f" ± {100 * deviation:.1f}"
    return f"{facts['method']}: top-1 {100 * top1.mean():.1f}{spread} % over seeds {seeds}"


def draw(path, title, rows, cuts, floors):
    """Accuracy over steps, and beside it the cosine and the norm ratio at each cut.

    Args:
      rows: those of metrics.csv.
      cuts: the layers' names.
      floors: {label: accuracy}, drawn as horizontal lines.
    """
    # The object interface: pyplot would keep global state and look for a screen.
    from matplotlib.figure import Figure

    steps = [row["step"] for row in rows]
    shown = [("cosine", "cosine of SG and dL/dh"), ("norm_ratio", "norm ratio |SG| / |dL/dh|")]
    if not cuts or "cut1_cosine" not in rows[-1]:
        shown = []
    figure = Figure(figsize=(4.6 * (1 + len(shown)), 3.6), layout="constrained")
    axes = figure.subplots(1, 1 + len(shown), squeeze=False)[0]
    axes[0].plot(steps, [100 * row["accuracy"] for row in rows], "C7.-", label="training")
    axes[0].plot(steps, [100 * row["val_accuracy"] for row in rows], "C0o-", label="held out")
    for style, (label, value) in zip([":", "--"], floors.items(), strict=False):
        axes[0].axhline(100 * value, color="0.4", linestyle=style, label=label)
    best = max(row[key] for row in rows for key in ("accuracy", "val_accuracy"))
    # Room for the legends above the curves.
    axes[0].set(ylabel="top-1 accuracy, %", ylim=(0, 140 * max(best, *floors.values())))
    for axis, (key, label) in zip(axes[1:], shown, strict=True):
        for k, name in enumerate(cuts, 1):
            axis.plot(steps, [row[f"cut{k}_{key}"] for row in rows], f"C{k - 1}o-", label=name)
        axis.axhline(1, color="0.8", zorder=0)
        top = max(1, *(row[f"cut{k}_{key}"] for row in rows for k in range(1, len(cuts) + 1)))
        axis.set(ylabel=label, ylim=(None, 1.4 * top))
    for axis in axes:
        axis.set(xlabel="training step")
        axis.legend(frameon=False, fontsize="small", loc="upper left")
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize="medium")
    with files.replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)


def export(model, path, images):
    """Writes the SavedModel, loads it as a stranger would, and compares answers on `images`.

    Returns the largest difference of two outputs, relative to the largest output. Raises
    CommandError where the answers differ by more than rounding.
    """
    directories.remove_leftovers(path)
    try:
        model.export(path)
    except tf.errors.ResourceExhaustedError as error:
        raise CommandError(
            f"{path}: {error.message}; make room, the same command goes on"
        ) from error
    saved = tf.saved_model.load(str(path)).signatures["serving_default"]
    [answers] = saved(tf.convert_to_tensor(images)).values()
    expected = model(images, training=False)
    if not np.isfinite(expected).all():
        raise CommandError(
            f"the model answers other than finite numbers to {path.parent}'s test images: it "
            "diverged; try a lower learning rate in another --workdir"
        )
    difference = np.abs(answers - expected).max() / max(np.abs(expected).max(), 1e-30)
    if not difference < 1e-3:
        raise CommandError(
            f"{path} answers differently from the model, by {difference:.2g} of the largest output"
        )
    return float(difference)
