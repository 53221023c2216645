"""The teacher that was recorded, as a differentiable function."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.lib.atari import policies, recordings
from train.lib.run.errors import UsageError, reading

NUM_CHECKED = 64  # stacks on which the teacher has to predict what was recorded
TOLERANCE = 0.01  # largest difference of two log-policies


def find(path: str | None, beside: Path) -> str | Path | None:
    """Return `path`, or else the teacher kept in the folder `beside` the data, if there is one."""
    kept = [beside / "teacher.keras", beside / "teacher"]
    return path or next((kept_path for kept_path in kept if kept_path.exists()), None)


def load(
    path: str | Path, game: str, recording: recordings.Recording
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the teacher at `path` as frames [B,84,84,4] -> logits [B,A].

    Raises:
      UsageError: it is of another layout, has no gradient, or is not the recorded one.
    """
    net = st.nets.with_patch_convolutions(policies.load(path, game).net)

    def teacher(frames):
        return policies.logits_and_value(net(frames))[0]

    steps = np.arange(NUM_CHECKED) * len(recording.places) // NUM_CHECKED
    frames, recorded = recording.batch(steps.astype(np.int32))
    frames = tf.cast(frames, tf.float32)
    remedy = "expected a net that takes floats; --method=values needs none"
    with reading(path, remedy, "has no gradient in frames"):
        st.vjp(teacher, frames[:1], recorded[:1])
    log_policy = st.distillation.log_policy
    difference = np.abs(log_policy(teacher(frames)) - log_policy(recorded)).max()
    if not difference < TOLERANCE:
        raise UsageError(
            f"{path} predicts other logits than those recorded: log-policies differ by "
            f"{difference:.2g}, expected at most {TOLERANCE}; give the --teacher that was recorded"
        )
    return teacher
