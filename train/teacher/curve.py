"""Logs of the actors, and the learning curve."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from train.lib.atari import environment
from train.lib.atari.titles import title
from train.lib.run import files, metrics_csv, old_flags, run_folder
from train.lib.run.errors import UsageError
from train.teacher.a3c import Actor
from train.teacher.losses import TERMS
from train.teacher.settings import A2CSettings

SHOWN = {name: name for name in ("training_score", "score", "entropy", "value_loss")}
TITLE = {"seed": 0, "init_from": None, **dataclasses.asdict(A2CSettings())}


def logs(actors: Iterable[Actor]) -> dict[str, float]:
    """Return means over the actors; NaN as long as there was no episode, or no update."""
    actors = list(actors)
    scores = [score for actor in actors for score in list(actor.scores)]
    means = {name: float(np.mean([actor.logs[name] for actor in actors])) for name in TERMS}
    return {"training_score": float(np.mean(scores)) if scores else np.nan, **means}


def finite_logs(logs: Mapping[str, float]) -> dict[str, float]:
    """Return the logs to print: no training score as long as no episode has ended."""
    return {n: v for n, v in logs.items() if n != "training_score" or not np.isnan(v)}


def draw(folder: Path, into: Path | None = None) -> list[Path]:
    """Draw the learning curve of a run, as far as it has come; return [its path].

    Args:
      folder: of the run.
      into: folder to draw into; None for the run's own.

    Raises:
      UsageError: as long as there is no evaluation, and where what the run has left is damaged.
    """
    from matplotlib.figure import Figure

    folder = Path(folder)
    config = run_folder.read_config(folder / "config.json", ["game"])
    flags = old_flags.complete("teacher", config["flags"])
    path = folder / "metrics.csv"
    if not path.exists() or not path.stat().st_size:
        raise UsageError(f"{folder} has no evaluation yet: let it train on")
    rows = metrics_csv.read_rows(path, ["step", "training_score", "score"])
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axis = figure.subplots()
    steps = [row["step"] / 1e6 for row in rows]
    training = [row["training_score"] for row in rows]
    axis.plot(steps, training, "C7.-", label="training_score (training episodes)")
    axis.plot(steps, [row["score"] for row in rows], "C0o-", label="score (evaluation)")
    axis.set(
        xlabel=f"million agent steps ({environment.FRAMES_PER_STEP} frames each)",
        ylabel="true score",
    )
    axis.set_title(title(f"A3C on {flags['game']}", flags, TITLE), fontsize="medium")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    path = Path(into or folder) / "curve.png"
    with files.replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
    return [path]
