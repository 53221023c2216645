"""Read what `train.record` wrote back into memory, and rebuild the stacks batch by batch.

Every frame is held once, as a byte a pixel: 100,000 frames are 0.7 GB, where their stacks would be
2.8 GB. Three black frames stand before every episode, as the policy saw them there, so that the
stack of any step is the four frames that end with its own.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sobolev_tf.keras_support import batching
from train.lib.atari import environment, episode_format
from train.lib.atari.episode_format import BLACK
from train.lib.run import feature_names, files, progress
from train.lib.run.errors import UsageError, reading

PARALLEL = 2  # batches that are put together at a time


@dataclasses.dataclass(frozen=True)
class Recording:
    """Whole episodes in their order of time, laid end to end; a step is one with an action.

    Attributes:
      frames: uint8 [F,84,84], each episode's after three black ones.
      places: int32 [T], the place of each step's own frame among the frames.
      logits: float32 [T,A], the teacher's.
      lengths: steps of every episode [E].
      scores: true score of every episode [E].
    """

    frames: tf.Tensor
    places: np.ndarray
    logits: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray

    def batch(self, steps: tf.Tensor | np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
        """Return stacks, uint8 [B,84,84,4], and logits [B,A] of `steps` [B]; also in a graph."""
        stacks = episode_format.stacks(self.frames, tf.gather(self.places, steps))
        return stacks, tf.gather(self.logits, steps)

    def facts(self) -> dict[str, Any]:
        """Return what tells it from other recordings."""
        return {
            "steps": len(self.places),
            "episodes": len(self.lengths),
            "mean_score": float(self.scores.mean()),
        }


def random_batches(
    recording: Recording, steps: np.ndarray, batch_size: int, seed: int, start: int = 0
) -> tf.data.Dataset:
    """Return endless batches of random `steps`: batch n is a function of (seed, n) and no more.

    Args:
      recording: the recording.
      steps: int32 [T], the steps to draw from.
      batch_size: steps in a batch, B.
      seed: seed of the draws.
      start: number of the first batch.
    """
    steps = tf.constant(steps)

    def draw(number):
        key = tf.stack([tf.cast(seed, tf.int64), number])
        drawn = tf.random.stateless_uniform([batch_size], key, 0, len(steps), tf.int32)
        return recording.batch(tf.gather(steps, drawn))

    data = tf.data.Dataset.counter(start).map(draw, PARALLEL, deterministic=True)
    return batching.without_autotune(data.prefetch(2))


def in_order(recording: Recording, steps: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """Return all of `steps`, in their order, in batches."""
    data = tf.data.Dataset.from_tensor_slices(tf.constant(steps)).batch(batch_size)
    return batching.without_autotune(data.map(recording.batch, PARALLEL).prefetch(2))


def find(path: str | Path) -> tuple[Path, Path]:
    """Return the data and the folder with its teacher.

    Args:
      path: a run folder of train.record, or the data in it.

    Raises:
      UsageError: there is no whole recording.
    """
    path = Path(path)
    if (path / "features.json").exists():
        return path, path.parent
    if (path / "data").exists():
        return path / "data", path
    if (path / "data.partial").exists() or path.suffix == ".partial":
        raise UsageError(f"{path}: this recording is not finished, run its command again first")
    raise UsageError(f"{path} is no recording: expected a run folder of train.record")


def read(folder: Path, game: str) -> Recording:
    """Read the recording in `folder`; a bar shows how far it is.

    Raises:
      UsageError: for a data set that is no recording of `game`, and for a damaged shard.
    """
    import tensorflow_datasets as tfds

    with reading(folder, "record it again", "cannot be read as a data set"):
        feature_names.check(folder)
        builder = tfds.builder_from_directory(folder)
        split = builder.info.splits[episode_format.SPLIT]
        features = builder.info.features
        shards = list(zip(split.filenames, split.shard_lengths, strict=True))
        if not shards or min(split.shard_lengths) < 1:
            raise ValueError(f"its shards have {list(split.shard_lengths)} episodes")
    name = builder.info.name
    if name in environment.ACTIONS and name != game:
        raise UsageError(f"{folder} is a recording of {name}, expected --game={game}")
    if repr(features) != repr(episode_format.features(game)):
        raise UsageError(f"{folder} is no recording of {game}: it holds {features}")
    bar, episodes = progress.Bar(sum(split.shard_lengths)), []
    for k, (name, length) in enumerate(shards):
        with reading(Path(folder, name), "record it again", "is damaged or not whole"):
            files.open_file(Path(folder, name)).close()  # says in fewer words that it is missing
            read_now = _shard(builder, k)
            _check(read_now, length)
        episodes += read_now
        bar.add(length, f"read {len(episodes)} episodes of {folder}")
    return join(episodes)


def join(episodes: list[dict[str, Any]]) -> Recording:
    """Return one Recording of episodes {observation, logits, score}, which are used up."""
    lengths = np.array([len(episode["logits"]) for episode in episodes])
    starts = np.cumsum(lengths + BLACK) - lengths
    size = episodes[0]["observation"].shape[1:3]
    frames = np.zeros([sum(lengths + BLACK), *size], np.uint8)
    logits = np.concatenate([episode["logits"] for episode in episodes])
    scores = np.array([episode["score"] for episode in episodes])
    for k, start in enumerate(starts):  # frees each episode: all would be there twice
        frames[start : start + lengths[k]] = episodes[k].pop("observation")[..., 0]
    places = np.concatenate([s + np.arange(n) for s, n in zip(starts, lengths, strict=True)])
    return Recording(
        frames=tf.constant(frames),
        places=places.astype(np.int32),
        logits=logits,
        lengths=lengths,
        scores=scores,
    )


def _shard(builder, number):
    """Return the episodes of a shard, without their last steps, which have no action."""
    import tensorflow_datasets as tfds

    # Episodes are counted by `_check`; TensorFlow would print a line of its own as well.
    config = tfds.ReadConfig(
        interleave_cycle_length=1, try_autocache=False, assert_cardinality=False
    )
    shard = f"{episode_format.SPLIT}[{number}shard:{number + 1}shard]"
    data = builder.as_dataset(split=shard, read_config=config)
    return list(data.map(_without_last, 2).as_numpy_iterator())


def _check(episodes, count):
    """Raise ValueError unless there are `count` episodes that can be learned from."""
    if len(episodes) != count:
        raise ValueError(f"it has {len(episodes)} episodes, expected {count}")
    for k, episode in enumerate(episodes):
        if not len(episode["logits"]):
            raise ValueError(f"episode {k} has no step")
        for name in ("logits", "score"):
            if not np.isfinite(episode[name]).all():
                raise ValueError(f"{name} of episode {k} are not finite")


def _without_last(episode):
    steps = episode["steps"].batch(environment.LONGEST).get_single_element()
    kept = {name: steps[name][:-1] for name in ("observation", "logits")}
    return kept | {"score": episode["score"]}
