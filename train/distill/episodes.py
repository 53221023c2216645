"""Test KL and action error by episode: one long episode outweighs many short ones in the mean."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.distill import splits
from train.distill.students import METHODS, Study
from train.lib.atari import policies
from train.lib.run import files, identity, schema, text_table
from train.lib.run.errors import reading

COUNTS = ("episode", "length", "test_steps")
MEASURES = (*COUNTS, "test_kl", "test_action_error")
ROUNDING = 1e-6  # of a KL divergence of 0


def measure(folder: Path, study: Study, percent: float) -> list[dict[str, Any]]:
    """Return a row of `MEASURES` for each test episode of a student; they are kept in its folder.

    Args:
      folder: the student's folder.
      study: what all students share.
      percent: the share of the recording that the student was trained on.
    """
    path = folder / "episodes.json"
    digest = identity.digest(folder / "saved_model")
    _, steps = splits.by_time(study.settings, study.recording.lengths, percent)
    counted = count(study.recording.lengths, steps)
    if path.exists() and (kept := _read(path, counted))["saved_model"] == digest:
        return kept["episodes"]
    policy = policies.load(folder / "saved_model", study.settings.game)
    rows = by_episode(policy, study, steps, counted)
    files.write_json(path, {"saved_model": digest, "episodes": rows})
    return rows


def count(lengths: np.ndarray, steps: np.ndarray) -> list[dict[str, int]]:
    """Return the `COUNTS` of each episode that `steps` [T] are of: its number, steps, and `steps`.

    Example:

    >>> count(np.array([4, 3, 2]), np.array([4, 6, 7]))[0]
    {'episode': 1, 'length': 3, 'test_steps': 2}
    """
    episodes, test_steps = np.unique(_episodes(lengths, steps), return_counts=True)
    columns = [numbers.tolist() for numbers in (episodes, lengths[episodes], test_steps)]
    return [dict(zip(COUNTS, row, strict=True)) for row in zip(*columns, strict=True)]


def _episodes(lengths: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the number of the episode of each of `steps` [T]."""
    return np.searchsorted(np.cumsum(lengths), steps, side="right")


def _read(path: Path, counted: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    with reading(path, "remove it, and run the command again"):
        kept = files.read_json(path)
        schema.check(kept, {"saved_model": str, "episodes": list})
        for row in kept["episodes"]:
            schema.check(row, dict.fromkeys(MEASURES, schema.NUMBER))
            if row["test_kl"] < -ROUNDING or not 0 <= row["test_action_error"] <= 1:
                raise ValueError(f"its measures of episode {row['episode']:g} are impossible")
        if [{name: row[name] for name in COUNTS} for row in kept["episodes"]] != counted:
            raise ValueError("its episodes are not those of the test steps")
        kept["episodes"] = [row | of for row, of in zip(kept["episodes"], counted, strict=True)]
    return kept


def by_episode(
    policy: policies.Policy, study: Study, steps: np.ndarray, counted: Sequence[Mapping[str, int]]
) -> list[dict[str, Any]]:
    """Return a row of `MEASURES` for each episode of `steps` [T], which are `counted`."""
    divergence = st.distillation.PolicyDivergence(study.settings.divergence)
    kl, errors = np.empty(len(steps)), np.empty(len(steps))
    start = 0
    for frames, teacher in study.test_batches(steps):
        student, _ = policy(frames.numpy())
        part = slice(start, start := start + len(student))
        kl[part] = divergence.call(teacher, tf.constant(student))
        errors[part] = np.argmax(student, -1) != np.argmax(teacher, -1)
    episode = _episodes(study.recording.lengths, steps)
    of_steps = {"test_kl": kl, "test_action_error": errors}
    return [
        of | {name: float(each[episode == of["episode"]].mean()) for name, each in of_steps.items()}
        for of in map(dict, counted)
    ]


def table(measured: Mapping[tuple[float, str], Sequence[Mapping[str, Any]]]) -> str:
    """Return medians over test episodes, and means in which each has the same weight, as text.

    Args:
      measured: {(percent, method): rows of `measure`}.

    Example:

    >>> rows = [{"test_kl": kl, "test_action_error": kl} for kl in (0.2, 0.4, 0.6)]
    >>> print(table({(10.0, "values"): rows}))
    by test episode   episodes median KL mean (lowest to highest) median action error
    10 %, values only        3       0.4         0.4 (0.2 to 0.6)              40.0 %
    """
    header = ["by test episode", "episodes", "median KL", "mean (lowest to highest)"]
    header += ["median action error"]
    lines = []
    for (percent, method), rows in measured.items():
        kl = [row["test_kl"] for row in rows]
        errors = statistics.median(row["test_action_error"] for row in rows)
        spread = f"{statistics.mean(kl):.3g} ({min(kl):.3g} to {max(kl):.3g})"
        name = f"{percent:g} %, {METHODS[method]}"
        median = f"{statistics.median(kl):.3g}"
        lines.append([name, len(rows), median, spread, text_table.percent(errors)])
    return text_table.table(header, lines)
