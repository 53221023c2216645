"""Recorded episodes: a TFDS data set in the terms of RLDS, one frame a step, stacks on reading.

Step t holds what was seen, what was done, and what that brought: reward and discount belong to the
action of the same step. The last step only shows where the episode ended: no action was taken.
RLDS itself is not needed; what the driver passes on while it plays is called as in TF-Agents
(see `trajectory`).
"""

import struct
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from train.lib.atari import environment

SPLIT = "train"
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}"  # The number of shards is not known yet.
HISTORY = 4
BLACK = HISTORY - 1  # black frames before an episode


def features(game: str) -> Any:
    """Return TFDS's features of an episode [T], whose last step has no action."""
    import tensorflow_datasets as tfds

    return tfds.features.FeaturesDict(
        {
            "steps": tfds.features.Dataset(
                {
                    "observation": tfds.features.Image(shape=(84, 84, 1), encoding_format="png"),
                    "action": np.int32,
                    "reward": np.float32,  # true score
                    "discount": np.float32,  # 0 where the action ended the game
                    "logits": tfds.features.Tensor(
                        shape=(len(environment.ACTIONS[game]),), dtype=np.float32
                    ),
                    "value": np.float32,  # NaN from a teacher without a value
                    "is_first": np.bool_,
                    "is_last": np.bool_,
                    "is_terminal": np.bool_,  # game over, not cut off
                }
            ),
            "score": np.float32,
        }
    )


def png(frame: np.ndarray) -> bytes:
    """Return a gray frame, uint8 [H,W], as PNG.

    An encoder of its own: without filters it takes a tenth of the time of the usual ones, and a
    recording waits for it (the files are smaller, too).
    """
    height, width = frame.shape
    rows = np.zeros([height, 1 + width], np.uint8)  # Every row begins with its filter: none.
    rows[:, 1:] = frame
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(rows.tobytes(), 3),
        b"IEND": b"",
    }
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def stacks(frames: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Return what the policy saw at `places` [B] of `frames`, uint8 [F,H,W]: [B,H,W,4].

    Oldest frame first. The bytes of four frames are put together as one little-endian word a
    pixel: TensorFlow is slower at moving an axis of bytes, and complains about it.

    Example:

    >>> frames = tf.reshape(tf.range(5), [5, 1, 1])
    >>> stacks(tf.cast(frames, tf.uint8), tf.constant([3, 4])).numpy().tolist()
    [[[[0, 1, 2, 3]]], [[[1, 2, 3, 4]]]]
    """
    history = [tf.cast(tf.gather(frames, places + k - BLACK), tf.uint32) for k in range(HISTORY)]
    return tf.bitcast(tf.add_n([t * 256**k for k, t in enumerate(history)]), tf.uint8)
