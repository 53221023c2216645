"""Write episodes as shards; the folder becomes a data set when the last one is written."""

import concurrent.futures
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from train.lib.atari import episode_format
from train.lib.images import tfrecords
from train.lib.run import files, schema
from train.lib.run.errors import CommandError, UsageError, last_line, reading

SHARD_STEPS = 10_000


class _Pending(NamedTuple):
    """An episode that is being compressed."""

    steps: int
    score: float
    serialized: "concurrent.futures.Future[bytes]"


class Writer:
    """A writer of episodes, in shards of `folder`.partial, which `finish` renames to `folder`.

    Episodes are written in the order in which they began: of games that are played side by side,
    short ones end first, and a recording in that order would have its long ones at its end.

    shards.json lists the shards that are whole: a recording that was killed resumes after them.

    Attributes:
      finished: whether the data set is whole.
      shards: [{"steps", "bytes", "scores", "seconds"}], what shards.json lists.

    Args:
      folder: folder of the data set.
      game: the game's name.
      shard_steps: steps in a shard, at least, but for the last one.
      before_write: called before each shard, such as `Run.refuse_if_removed`.

    Raises:
      UsageError: unless all is there that shards.json lists.
    """

    def __init__(
        self,
        folder: Path,
        game: str,
        shard_steps: int = SHARD_STEPS,
        *,
        before_write: Callable[[], None] = lambda: None,
    ):
        from tensorflow_datasets.core.example_serializer import ExampleSerializer

        self.folder, self.partial = folder, folder.with_name(f"{folder.name}.partial")
        self.game, self.shard_steps, self.before_write = game, shard_steps, before_write
        self.features = episode_format.features(game)
        self._serializer = ExampleSerializer(self.features.get_serialized_info())
        self._threads = concurrent.futures.ThreadPoolExecutor(2)
        self._waiting: dict[int, _Pending] = {}  # until those that began earlier have ended
        self._pending: list[_Pending] = []
        self._next = 0  # the number of the episode that follows the pending ones
        self._began = time.monotonic()
        self.finished = folder.exists()
        if not self.finished:
            self.partial.mkdir(exist_ok=True)
            files.remove_leftovers(self.partial)
        self._list = (folder if self.finished else self.partial) / "shards.json"
        self.shards = self._whole_shards()

    def _whole_shards(self):
        if not (self.finished or self._list.exists()):
            return []
        with reading(self._list.parent, "remove it, and record again", "is no whole recording"):
            shards = [_renamed(shard) for shard in files.read_json(self._list)]
            if not shards:
                raise ValueError(f"{self._list.name} lists no shard")
            paths = [self._path(number) for number in range(len(shards))]
            lengths = [len(shard["scores"]) for shard in shards]
            try:
                tfrecords.check(paths, lengths, sum(shard["bytes"] for shard in shards))
            except UsageError as error:
                raise ValueError(error) from error
        return shards

    def _path(self, number):
        folder = self.folder if self.finished else self.partial
        return folder / f"{self.game}-{episode_format.SPLIT}.tfrecord-{number:05d}"

    @property
    def num_steps(self) -> int:
        """Steps (actions) in the shards that are whole."""
        return sum(shard["steps"] for shard in self.shards)

    def add(self, episode: dict[str, np.ndarray], number: int | None = None) -> None:
        """Take an episode; it is compressed in the background.

        Args:
          episode: {name: array [T]}.
          number: its place in the order in which episodes began, from 0 in this process. It is
            written once all earlier ones are there. None: the next one.
        """
        self._waiting[self._next if number is None else number] = _Pending(
            steps=len(episode["action"]) - 1,
            score=float(episode["reward"].sum()),
            serialized=self._threads.submit(self._serialize, episode),
        )
        while self._next in self._waiting:
            self._pending.append(self._waiting.pop(self._next))
            self._next += 1
        if sum(episode.steps for episode in self._pending) >= self.shard_steps:
            self._write()

    def _serialize(self, episode):
        steps = episode | {"observation": [episode_format.png(f) for f in episode["observation"]]}
        return self._serializer.serialize_example(
            {"steps": steps, "score": episode["reward"].sum()}
        )

    def flush(self) -> None:
        """Write all episodes that were added, also those that an open one began before."""
        self._pending += [self._waiting.pop(number) for number in sorted(self._waiting)]
        self._write()

    def _write(self):
        """Write the pending episodes as the next shard."""
        if not self._pending:
            return
        self.before_write()
        serialized = [episode.serialized.result() for episode in self._pending]
        path = self._path(len(self.shards))
        try:
            with files.replacing(path) as file, tf.io.TFRecordWriter(file.name) as shard:
                for record in serialized:
                    shard.write(record)
        except tf.errors.OpError as error:
            raise CommandError(f"{path}: {last_line(error)}; the same command resumes") from error
        self.shards.append(
            {
                "steps": sum(episode.steps for episode in self._pending),
                "bytes": sum(map(len, serialized)),
                "scores": [episode.score for episode in self._pending],
                "seconds": round(time.monotonic() - self._began, 1),
            }
        )
        files.write_json(self._list, self.shards)
        self._pending, self._began = [], time.monotonic()

    def finish(self, **facts: Any) -> None:
        """Write TFDS's metadata, with `facts`, and give the folder its name."""
        import tensorflow_datasets as tfds

        template = tfds.core.ShardedFileTemplate(
            self.partial, episode_format.TEMPLATE, self.game, episode_format.SPLIT, "tfrecord"
        )
        tfds.folder_dataset.write_metadata(
            data_dir=self.partial,
            features=self.features,
            split_infos=[
                tfds.core.SplitInfo(
                    episode_format.SPLIT,
                    [len(shard["scores"]) for shard in self.shards],
                    sum(shard["bytes"] for shard in self.shards),
                    template,
                )
            ],
            filename_template=template,
            check_data=False,
            **facts,
        )
        os.rename(self.partial, self.folder)
        files.sync_folder(self.folder.parent)
        self.finished = True


def _renamed(shard):
    """Return a shard's entry of shards.json; older ones call steps frames, and have no seconds."""
    if isinstance(shard, dict) and "frames" in shard:
        shard = {"steps": shard["frames"], **shard}
    schema.check(
        shard, {"steps": int, "bytes": int, "scores": list}, {"seconds": schema.OPTIONAL_NUMBER}
    )
    schema.check_numbers(shard["scores"])
    if shard["steps"] < len(shard["scores"]):
        raise ValueError(f"{shard['steps']} steps in {len(shard['scores'])} episodes")
    return {
        "steps": shard["steps"],
        "bytes": shard["bytes"],
        "scores": shard["scores"],
        "seconds": shard.get("seconds"),
    }
