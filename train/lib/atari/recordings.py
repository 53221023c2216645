"""Reads what `train.record` wrote back into memory, and rebuilds the stacks batch by batch.

Every frame is held once, as a byte a pixel: 100,000 frames are 0.7 GB, where their stacks would be
2.8 GB. Three black frames stand before every episode, as the policy saw them there, so that the
stack of any step is the four frames that end with its own.
"""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from sobolev_tf.keras_support import batching
from train.lib.atari import environment, episode_format
from train.lib.run import progress
from train.lib.run.errors import UsageError

PARALLEL = 2  # batches that are put together at a time
BLACK = episode_format.HISTORY - 1


@dataclasses.dataclass(frozen=True)
class Recording:
    """Whole episodes in their order of time, laid end to end; a step is one with an action.

    frames: uint8 [F,84,84], each episode's after three black ones.
    places: int32 [T], where among the frames a step's own is.
    logits: float32 [T,A], the teacher's.
    lengths, scores: steps and true score of every episode [E].
    """

    frames: tf.Tensor
    places: np.ndarray
    logits: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray

    def batch(self, steps):
        """(stacks uint8 [B,84,84,4], logits [B,A]) of `steps` [B]; inside a graph, too."""
        return stacks(self.frames, tf.gather(self.places, steps)), tf.gather(self.logits, steps)

    def facts(self):
        """What tells it from other recordings."""
        counts = {"steps": len(self.places), "episodes": len(self.lengths)}
        return counts | {"mean_score": float(self.scores.mean())}


def stacks(frames, places):
    """What the policy saw at `places` [B] of `frames`, uint8 [F,H,W]: [B,H,W,4], oldest first.

    The bytes of four frames are put together as one little-endian word a pixel: TensorFlow is
    slower at moving an axis of bytes, and complains about it.

    >>> frames = tf.reshape(tf.range(5), [5, 1, 1])
    >>> stacks(tf.cast(frames, tf.uint8), tf.constant([3, 4])).numpy().tolist()
    [[[[0, 1, 2, 3]]], [[[1, 2, 3, 4]]]]
    """
    history = [tf.cast(tf.gather(frames, places + k - BLACK), tf.uint32) for k in range(BLACK + 1)]
    return tf.bitcast(tf.add_n([t * 256**k for k, t in enumerate(history)]), tf.uint8)


def random_batches(recording, steps, batch_size, seed, start=0):
    """Batches of random `steps`, without end: batch n is a function of (seed, n) alone."""
    steps = tf.constant(steps)

    def draw(number):
        key = tf.stack([tf.cast(seed, tf.int64), number])
        drawn = tf.random.stateless_uniform([batch_size], key, 0, len(steps), tf.int32)
        return recording.batch(tf.gather(steps, drawn))

    data = tf.data.Dataset.counter(start).map(draw, PARALLEL, deterministic=True)
    return batching.without_autotune(data.prefetch(2))


def in_order(recording, steps, batch_size):
    """All of `steps`, in batches."""
    data = tf.data.Dataset.from_tensor_slices(tf.constant(steps)).batch(batch_size)
    return batching.without_autotune(data.map(recording.batch, PARALLEL).prefetch(2))


def find(path):
    """(data, folder with the teacher) of a run folder of train.record, or of the data in it.

    Raises UsageError where there is no whole recording.
    """
    path = Path(path)
    if (path / "features.json").exists():
        return path, path.parent
    if (path / "data").exists():
        return path / "data", path
    if (path / "data.partial").exists() or path.suffix == ".partial":
        raise UsageError(f"{path}: this recording is not finished, run its command again first")
    raise UsageError(f"{path} is no recording: expected a run folder of train.record")


def read(folder, game):
    """The Recording in `folder`, shown as it grows.

    Raises UsageError for a data set that is no recording of `game`, and for a damaged shard,
    naming it.
    """
    try:
        builder = tfds.builder_from_directory(folder)
        split = builder.info.splits[episode_format.SPLIT]
        spec = builder.info.features
    except Exception as error:  # TFDS raises whatever its parsers do
        raise UsageError(f"{folder} cannot be read as a data set: {error}") from error
    found = builder.info.name
    if found in environment.ACTIONS and found != game:
        raise UsageError(f"{folder} is a recording of {found}, expected --game={game}")
    expected = episode_format.features(game)
    if repr(spec) != repr(expected):
        raise UsageError(f"{folder} is no recording of {game}: it holds {spec}")
    bar, parts = progress.Bar(sum(split.shard_lengths)), []
    for k, (name, length) in enumerate(zip(split.filenames, split.shard_lengths, strict=True)):
        try:
            parts += _shard(builder, k)
        except tf.errors.OpError as error:
            raise UsageError(
                f"{Path(folder, name)} is damaged or not whole: {error.message}; record it again"
            ) from error
        bar.add(length, f"read {len(parts)} episodes of {folder}")
    return join(parts)


def join(parts):
    """One Recording of episodes {observation, logits, score}, which are used up."""
    lengths = np.array([len(part["logits"]) for part in parts])
    starts = np.cumsum(lengths + BLACK) - lengths
    frames = np.zeros([sum(lengths + BLACK), *parts[0]["observation"].shape[1:3]], np.uint8)
    logits = np.concatenate([part["logits"] for part in parts])
    scores = np.array([part["score"] for part in parts])
    for k, start in enumerate(starts):  # frees each part: all would be there twice
        frames[start : start + lengths[k]] = parts[k].pop("observation")[..., 0]
    places = np.concatenate([s + np.arange(n) for s, n in zip(starts, lengths, strict=True)])
    return Recording(tf.constant(frames), places.astype(np.int32), logits, lengths, scores)


def _shard(builder, number):
    """The episodes of a shard, without their last steps, which have no action."""
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    part = f"{episode_format.SPLIT}[{number}shard:{number + 1}shard]"
    data = builder.as_dataset(split=part, read_config=config)
    return list(data.map(_without_last, 2).as_numpy_iterator())


def _without_last(episode):
    steps = episode["steps"].batch(environment.LONGEST).get_single_element()
    kept = {name: steps[name][:-1] for name in ("observation", "logits")}
    return kept | {"score": episode["score"]}
