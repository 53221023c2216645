"""What a run says about itself while it learns, and its learning curve."""

import time

import numpy as np

from train.lib import atari, files, progress

SHOWN = {
    "speed": "steps/s",
    "training_score": "training score",
    "score": "score",
    "entropy": "entropy",
    "value_loss": "value loss",
}


class Clock:
    """Where a run stands, and when it will be done. Seconds sum up over all its processes."""

    def __init__(self, step, total, seconds, every=20):
        self.step = self.first_step = step
        self.total, self.before, self.every = total, seconds, every
        self.began = self.printed_at = time.monotonic()

    def seconds(self):
        return self.before + time.monotonic() - self.began

    def speed(self):
        """Agent steps a second of this process."""
        return (self.step - self.first_step) / (time.monotonic() - self.began)

    def print(self, logs, now=False):
        """Print a line, but not more often than every `every` seconds unless it must be `now`."""
        if not now and time.monotonic() - self.printed_at < self.every:
            return
        self.printed_at = time.monotonic()
        left = max(self.total - self.step, 0) / self.speed() if self.speed() else None
        logs = {"speed": self.speed()} | logs
        print(progress.line(self.step, self.total, left, logs, SHOWN), flush=True)


def logs(actors):
    """The means over actors of what they last saw; NaN where no episode has ended yet."""
    scores = [score for actor in actors for score in list(actor.scores)]
    terms = [actor.logs for actor in actors if actor.logs]
    found = {name: float(np.mean([t[name] for t in terms])) for name in (terms or [{}])[0]}
    return {"training_score": float(np.mean(scores)) if scores else np.nan} | found


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
