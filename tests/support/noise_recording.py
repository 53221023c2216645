"""A recording of noise, seen by a teacher: as train.record leaves it."""

import numpy as np

from tests.support.stacked import stacked
from train.record.writer import Writer

LENGTHS = [30, 50, 21, 40, 60, 33, 26]


def record_noise(folder, teacher):
    """Write the recording and the teacher, [84,84,4] -> (logits, value); return the episodes."""
    teacher.save(folder / "teacher.keras")
    rng, written = np.random.default_rng(0), []
    writer = Writer(folder / "data", "breakout", shard_steps=100)
    for length in LENGTHS:
        frames = rng.integers(0, 256, [length + 1, 84, 84], dtype=np.uint8)
        logits, values = teacher.predict(stacked(frames), verbose=0)
        places = np.arange(length + 1)
        written.append(
            {
                "observation": frames,
                "action": np.zeros(length + 1, np.int32),
                "reward": rng.integers(0, 2, length + 1).astype(np.float32),
                "discount": np.ones(length + 1, np.float32),
                "logits": logits,
                "value": values[:, 0],
                "is_first": places == 0,
                "is_last": places == length,
                "is_terminal": places == length,
            }
        )
        writer.add(written[-1])
    writer.flush()
    writer.finish()
    return written
