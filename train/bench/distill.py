"""What a step of Sobolev distillation costs over one on values only, which reads stored logits."""

from typing import Any

import numpy as np

import sobolev_tf as st
from train.bench import benchmark, cost

BATCH, ACTIONS = 200, 4
RATIO = "distillation step, Sobolev over values only"


def rows(turns: int = 7, calls: int = 3) -> benchmark.Rows:
    """Section 4.2's nets, batch 200, stored logits on both sides; alpha's side runs the teacher."""
    teacher = st.targets.Teacher(
        st.nets.with_patch_convolutions(st.nets.atari_teacher(ACTIONS)), output=0
    )
    models = [student(teacher, alpha=1.0), student(None, alpha=0)]
    data = batch()
    seconds = benchmark.seconds_in_turns(
        [benchmark.step_runner(model, data) for model in models], calls, turns
    )
    counts = [cost.products(model, data) for model in models]
    ratio, counted = np.median(seconds[:, 0] / seconds[:, 1]), counts[0] / counts[1]
    yield "distillation: seconds a step on values only", np.median(seconds[:, 1])
    yield "distillation: seconds a Sobolev step", np.median(seconds[:, 0])
    yield RATIO, ratio
    yield f"{RATIO}: arithmetic counts", counted
    yield f"{RATIO}: ratio over that of counts (bar 1.2)", ratio / counted


def student(teacher: Any, alpha: float, share: float = 1.0) -> st.PolicyDistiller:
    """Return a compiled student that compares gradients at a share of a batch."""
    model = st.PolicyDistiller(st.nets.atari_student(ACTIONS), teacher, alpha=alpha)
    model.compile("adam", derivative_share=share)
    return model


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Return random frames, and logits of a teacher."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, [BATCH, *[84, 84, 4]], dtype=np.uint8)
    return frames, rng.normal(size=[BATCH, ACTIONS]).astype("float32")
