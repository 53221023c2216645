"""What the actors saw, as logs, and the learning curve."""

from pathlib import Path

import numpy as np

from train.lib.atari import environment
from train.lib.run import files, metrics_csv, run_folder
from train.lib.run.errors import UsageError
from train.teacher.losses import TERMS

SHOWN = {
    "training_score": "training score",
    "score": "score",
    "entropy": "entropy",
    "value_loss": "value loss",
}


def logs(actors):
    """Means over the actors; NaN as long as there was no episode, or no update."""
    scores = [score for actor in actors for score in list(actor.scores)]
    found = {"training_score": float(np.mean(scores)) if scores else np.nan}
    return found | {name: float(np.mean([a.logs[name] for a in actors])) for name in TERMS}


def known(logs):
    """To be printed: without the training score as long as no episode has ended."""
    return {n: v for n, v in logs.items() if n != "training_score" or not np.isnan(v)}


def draw(folder, into=None):
    """Draws the learning curve of a run, as far as it has come, into the folder `into`, or its own.

    Returns its path in a list. Raises UsageError as long as there is no evaluation, and where what
    the run has left is damaged.
    """
    from matplotlib.figure import Figure  # Here: training should not wait for it.

    folder = Path(folder)
    game = run_folder.read_config(folder / "config.json", ["game"])["flags"]["game"]
    path = folder / "metrics.csv"
    if not path.exists() or not path.stat().st_size:
        raise UsageError(f"{folder} has no evaluation yet: let it train on")
    rows = metrics_csv.read_rows(path, ["step", "training_score", "score"])
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axis = figure.subplots()
    steps = [row["step"] / 1e6 for row in rows]
    axis.plot(steps, [row["training_score"] for row in rows], "C7.-", label="training episodes")
    axis.plot(steps, [row["score"] for row in rows], "C0o-", label="evaluation")
    axis.set(
        xlabel=f"million agent steps ({environment.FRAMES_PER_STEP} frames each)",
        ylabel="true score",
        title=f"A3C on {game}",
    )
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    path = Path(into or folder) / "curve.png"
    with files.replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
    return [path]
