"""Logs of the actors, and the learning curve."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from train.lib.atari import environment, policies
from train.lib.atari.titles import game_name, title
from train.lib.run import files, metrics_csv, old_flags, run_folder
from train.lib.run.errors import UsageError, reading
from train.lib.run.line_labels import label_ends
from train.teacher.a3c import Actor
from train.teacher.losses import TERMS
from train.teacher.settings import LearnerSettings

SHOWN = {name: name for name in ("training_score", "score", "entropy", "value_loss")}
# Random play, as Mnih et al. (2015) report it; and where an axis of scores begins, if not at 0.
RANDOM_PLAY = {"breakout": 1.7, "pong": -20.7, "space_invaders": 148.0}
LOWEST = {"pong": -21.5}
TITLE = {"seed": 0, "init_from": None, **dataclasses.asdict(LearnerSettings())}


def logs(actors: Iterable[Actor]) -> dict[str, float]:
    """Return means over the actors; NaN until there is an episode, or an update."""
    actors = list(actors)
    scores = [score for actor in actors for score in list(actor.scores)]
    means = {name: float(np.mean([actor.logs[name] for actor in actors])) for name in TERMS}
    return {"training_score": float(np.mean(scores)) if scores else np.nan, **means}


def finite_logs(logs: Mapping[str, float]) -> dict[str, float]:
    """Return the logs to print: no training score until an episode has ended."""
    return {n: v for n, v in logs.items() if n != "training_score" or not np.isnan(v)}


def draw(folder: Path, into: Path | None = None) -> list[Path]:
    """Draw the learning curve of a run, as far as it has come; return [its path].

    Args:
      folder: folder of the run.
      into: folder to draw into; None for the run's own.

    Raises:
      UsageError: until there is an evaluation, and where a file of the run is damaged.
    """
    from matplotlib.figure import Figure

    folder = Path(folder)
    config = run_folder.read_config(folder / "config.json", ["game"])
    flags = old_flags.complete("teacher", config["flags"])
    path = folder / "metrics.csv"
    if not path.exists() or not path.stat().st_size:
        raise UsageError(f"{folder} has no evaluation yet: let it train on")
    rows = metrics_csv.read_rows(path, ["step", "training_score", "score"])
    figure = Figure(figsize=(6.2, 3.6), layout="constrained")
    axis = figure.subplots()
    steps = [row["step"] / 1e6 for row in rows]
    training = [row["training_score"] for row in rows]
    scores = [row["score"] for row in rows]
    axis.plot(steps, training, "C7.-", label="training_score")
    axis.plot(steps, scores, "C0o-", label="score")
    axis.axhline(RANDOM_PLAY[flags["game"]], color="0.5", linestyle=":", linewidth=1, zorder=0)
    ends = [
        ("training_score", training[-1], "C7"),
        ("score\n(evaluation)", scores[-1], "C0"),
        ("random play", RANDOM_PLAY[flags["game"]], "0.35"),
    ]
    if card := released(config):
        at, score = card["steps"] / 1e6, card["mean_score"]
        axis.plot([at], [score], "C1*", markersize=13, zorder=3, label="released")
        ends.append(
            (f"released (star):\n{score:.3g} in {len(card['scores'])} episodes", score, "C1")
        )
    axis.set(
        xlabel=f"million agent steps ({environment.FRAMES_PER_STEP} frames each)",
        ylabel="true score",
        xlim=(0, None),
    )
    axis.set_ylim(bottom=LOWEST.get(flags["game"], 0))
    label_ends(axis, [end for end in ends if not np.isnan(end[1])])
    subject = f"A3C on {game_name(flags['game'])}, one seed"
    axis.set_title(title(subject, flags, TITLE), fontsize="medium")
    axis.spines[["top", "right"]].set_visible(False)
    path = Path(into or folder) / "curve.png"
    files.write_png(path, figure, dpi=110)
    return [path]


def released(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the card of the released teacher that a run has made; None if it made none.

    Args:
      config: the run's config.json.
    """
    path = policies.RELEASED / f"{config['flags']['game']}.json"
    if "commit" not in config or not path.exists():
        return None
    with reading(path, "check out train/teachers again"):
        card = files.read_json(path)
        made = card["training"]
        flags = old_flags.complete("teacher", made["flags"])
        same = flags == old_flags.complete("teacher", config["flags"])
        return card if same and made["commit"] == config["commit"] else None
