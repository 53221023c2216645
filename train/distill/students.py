"""The students of a run: what they share, how they differ, and their files."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from train.lib.atari import play, policies, recordings
from train.lib.run import files, identity, metrics_csv, old_flags, run_folder, schema
from train.lib.run.errors import UsageError, reading
from train.lib.run.settings import Settings

METHODS = {"values": "values only", "sobolev": "Sobolev"}  # as people read them
STEP_COST = {"values": 1, "sobolev": 4}  # of a training step, roughly
SHOWN = {  # on progress lines; the tests are Keras's validation
    "kl": "kl",
    "d1_loss": "d1_loss",
    "val_kl": "test_kl",
    "val_action_error": "test_action_error",
}
TEST_BATCH = 500
ROUNDING = 1e-4  # how far below zero a KL may come
SCRIPT = "distill net"  # in the config.json of a student's folder
RESULTS: dict[str, schema.Kind] = {  # of a student's summary.json
    "method": str,
    "train_percent": schema.NUMBER,
    "learning_rate": schema.NUMBER,
    "alpha": schema.NUMBER,
    "test_kl": schema.NUMBER,
    "test_action_error": schema.NUMBER,
    "seconds": schema.NUMBER,
}
STATED: dict[str, schema.Kind] = {"study": str, "saved_model": str}  # by summaries of today


@dataclasses.dataclass(frozen=True)
class Study:
    """What all students of a run share.

    Attributes:
      settings: those of the command.
      recording: the teacher at play.
      teacher: frames [B,84,84,4] -> logits [B,A], differentiable; None if no method needs it.
    """

    settings: Settings
    recording: recordings.Recording
    teacher: Callable[[tf.Tensor], tf.Tensor] | None

    def stream(self, steps: np.ndarray, start: int = 0) -> tf.data.Dataset:
        """Return endless batches of random `steps`, from batch number `start` on."""
        settings = self.settings
        return recordings.random_batches(
            self.recording, steps, settings.batch_size, settings.seed, start
        )

    def test_batches(self, steps: np.ndarray) -> tf.data.Dataset:
        """Return all of `steps` in batches."""
        return recordings.in_order(self.recording, steps, TEST_BATCH)


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of a student.

    Attributes:
      method: "values" or "sobolev".
      learning_rate: Adam's, at the start.
      alpha: weight of the gradients; 0 for "values".
      steps: training steps.
      train: int32 [T], steps of the recording to train on.
      test: int32 [T], those to test on.
    """

    method: str
    learning_rate: float
    alpha: float
    steps: int
    train: np.ndarray
    test: np.ndarray


def folder(run: run_folder.Run, percent: float, method: str) -> Path:
    """Return the folder of a student; older runs call the method of values `regular`."""
    return _either(run.path("nets"), *_names(percent, method), method)


def _names(percent: float, method: str) -> tuple[str, str]:
    """Return the name of a student's folder, and the one that older runs gave it."""
    old_method = "regular" if method == "values" else method
    return f"{percent:.15g}-{method}", f"{percent:.15g}-{old_method}"


def is_done(folder: Path) -> bool:
    """Return whether a student's folder has all that the run's end needs."""
    needed = ("summary.json", "metrics.csv", "saved_model/saved_model.pb")
    return all((folder / name).exists() for name in needed)


def trial_path(run: run_folder.Run, trial: Trial) -> Path:
    """Return the file that keeps the result of a trial of the search."""
    rest = f"rate={trial.learning_rate:.15g}-alpha={trial.alpha:.15g}.json"
    return _either(run.path("search"), f"{trial.method}-{rest}", f"regular-{rest}", trial.method)


def _either(parent, name, old_name, method):
    is_old = method == "values" and (parent / old_name).exists()
    return parent / (old_name if is_old else name)


def summaries(run: run_folder.Run) -> dict[tuple[float, str], dict[str, Any]]:
    """Return {(percent, method): summary} of every student in the run folder that is done."""
    done = [_summary(path, run.id) for path in run.path("nets").glob("*/summary.json")]
    done.sort(key=lambda net: (net["train_percent"], list(METHODS).index(net["method"])))
    return {(net["train_percent"], net["method"]): net for net in done}


def _summary(path, run_id):
    with reading(path, "remove it, and run the command again"):
        summary = old_flags.rename(SCRIPT, files.read_json(path))
        schema.check(summary, RESULTS, STATED)
        stated = {"study": run_id}
        if "saved_model" in summary:
            stated["saved_model"] = identity.digest(path.parent / "saved_model")
        identity.check(summary, stated)
        if summary["method"] not in METHODS:
            raise ValueError(f"its method is {summary['method']!r}")
        kl, action_error = summary["test_kl"], summary["test_action_error"]
        if kl < -ROUNDING or not 0 <= action_error <= 1:
            raise ValueError(f"its test_kl is {kl:g}, its test_action_error {action_error:g}")
        names = _names(summary["train_percent"], summary["method"])
        if path.parent.name not in names:
            raise ValueError(f"it is the summary of {names[0]}")
    return summary


def rows(folder: Path, percent: float, method: str, test_kl: float) -> list[dict[str, Any]]:
    """Return a finished student's rows for the run's metrics.csv.

    Raises:
      UsageError: the last one's test KL is not `test_kl`, that of the student's summary.
    """
    names = ["step", "seconds", "kl", "action_error", "val_kl", "val_action_error"]
    remedy = f"remove {folder}, and the same command trains it again"
    path = folder / "metrics.csv"
    stored = metrics_csv.read_rows(path, names, remedy=remedy)
    if stored[-1]["val_kl"] != test_kl:
        raise UsageError(
            f"{path} is of another net: it ends with a test KL of {stored[-1]['val_kl']:g}, "
            f"summary.json has {test_kl:g}; {remedy}"
        )
    return [
        {
            "train_percent": percent,
            "method": method,
            "step": int(row["step"]),
            "seconds": row["seconds"],
            "kl": row["kl"],
            "action_error": row["action_error"],
            "test_kl": row["val_kl"],
            "test_action_error": row["val_action_error"],
        }
        for row in stored
    ]


def true_scores(folder: Path, game: str, episodes: int, seed: int) -> list[float]:
    """Return true scores of the exported student at play.

    They are kept in its folder, with the digest of the SavedModel that played: another one plays
    again.
    """
    path = folder / f"play-{episodes}.json"
    net = folder.name.replace("regular", "values")  # its name in older runs
    stated = {"net": net, "game": game, "episodes": episodes, "seed": seed}
    digest = identity.digest(folder / "saved_model")
    if path.exists():
        with reading(path, "remove it, and run the command again"):
            kept = files.read_json(path)
            if not isinstance(kept, dict):  # of an older run
                kept = {"scores": kept}
            identity.check(kept, stated)
            schema.check(kept, {"scores": list})
            schema.check_numbers(kept["scores"])
        if kept.get("saved_model", digest) == digest:
            return kept["scores"]
    policy = policies.load(folder / "saved_model", game)
    scores = play.scores(policy, game, episodes, seed).tolist()
    files.write_json(path, {**stated, "saved_model": digest, "scores": scores})
    return scores
