"""What the actors saw, as logs, and the learning curve."""

import numpy as np

from train.lib import atari, files
from train.teacher.a3c import TERMS

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


def draw(path, game, rows):
    """The learning curve, from the rows of metrics.csv."""
    # The object interface: pyplot would keep global state and look for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axis = figure.subplots()
    steps = [row["step"] / 1e6 for row in rows]
    axis.plot(steps, [row["training_score"] for row in rows], "C7.-", label="training episodes")
    axis.plot(steps, [row["score"] for row in rows], "C0o-", label="evaluation")
    axis.set(
        xlabel=f"million agent steps ({atari.FRAMES_PER_STEP} frames each)",
        ylabel="true score",
        title=f"A3C on {game}",
    )
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    with files.replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
