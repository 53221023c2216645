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

MEASURES = ("episode", "length", "test_steps", "test_kl", "test_action_error")


def measure(folder: Path, study: Study, percent: float) -> list[dict[str, Any]]:
    """Return a row of `MEASURES` for each test episode of a student; they are kept in its folder.

    Args:
      folder: the student's folder.
      study: what all students share.
      percent: the share of the recording that the student was trained on.
    """
    path = folder / "episodes.json"
    digest = identity.digest(folder / "saved_model")
    if path.exists() and (kept := _read(path))["saved_model"] == digest:
        return kept["episodes"]
    _, steps = splits.by_time(study.settings, study.recording.lengths, percent)
    policy = policies.load(folder / "saved_model", study.settings.game)
    rows = by_episode(policy, study, steps)
    files.write_json(path, {"saved_model": digest, "episodes": rows})
    return rows


def _read(path: Path) -> dict[str, Any]:
    with reading(path, "remove it, and run the command again"):
        kept = files.read_json(path)
        schema.check(kept, {"saved_model": str, "episodes": list})
        for row in kept["episodes"]:
            schema.check(row, dict.fromkeys(MEASURES, schema.NUMBER))
    return kept


def by_episode(policy: policies.Policy, study: Study, steps: np.ndarray) -> list[dict[str, Any]]:
    """Return a row of `MEASURES` for each episode of `steps` [T], in their order."""
    divergence = st.distillation.PolicyDivergence(study.settings.divergence)
    kl, errors = np.empty(len(steps)), np.empty(len(steps))
    start = 0
    for frames, teacher in study.test_batches(steps):
        student, _ = policy(frames.numpy())
        part = slice(start, start := start + len(student))
        kl[part] = divergence.call(teacher, tf.constant(student))
        errors[part] = np.argmax(student, -1) != np.argmax(teacher, -1)
    lengths = study.recording.lengths
    episode = np.searchsorted(np.cumsum(lengths), steps, side="right")
    rows = []
    for number in np.unique(episode):
        at = episode == number
        numbers = int(number), int(lengths[number]), int(at.sum()), kl[at].mean(), errors[at].mean()
        rows.append(dict(zip(MEASURES, map(float, numbers), strict=True)))
    return rows


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
