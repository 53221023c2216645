"""Writes episodes as shards; the folder becomes a data set when the last one is written."""

import concurrent.futures
import json
import os

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from train.lib.atari import episode_format
from train.lib.images import tfrecords
from train.lib.run import files
from train.lib.run.errors import CommandError, UsageError

SHARD_FRAMES = 10_000


class Writer:
    """Collects episodes in shards of `folder`.partial, which `finish` renames to `folder`.

    shards.json lists the shards that are whole: a recording that was killed goes on after them.
    """

    def __init__(self, folder, game, shard_frames=SHARD_FRAMES):
        self.folder, self.partial = folder, folder.with_name(f"{folder.name}.partial")
        self.game, self.shard_frames = game, shard_frames
        self.features = episode_format.features(game)
        self._serializer = ExampleSerializer(self.features.get_serialized_info())
        self._threads = concurrent.futures.ThreadPoolExecutor(2)
        self._pending = []  # (actions, score, future bytes)
        self.finished = folder.exists()
        if not self.finished:
            self.partial.mkdir(exist_ok=True)
            files.remove_leftovers(self.partial)
        self.list = (folder if self.finished else self.partial) / "shards.json"
        self.shards = self._whole_shards()

    def _whole_shards(self):
        """What shards.json lists. Raises UsageError unless all of it is there."""
        if not (self.finished or self.list.exists()):
            return []
        try:
            shards = json.loads(self.list.read_text())
            paths = [self._path(number) for number in range(len(shards))]
            lengths = [len(shard["scores"]) for shard in shards]
            tfrecords.check(paths, lengths, sum(shard["bytes"] for shard in shards))
        except (UsageError, OSError, ValueError, TypeError, LookupError) as error:
            raise UsageError(
                f"{self.list.parent} is no whole recording ({error}): remove it, and record again"
            ) from error
        return shards

    def _path(self, number):
        folder = self.folder if self.finished else self.partial
        return folder / f"{self.game}-{episode_format.SPLIT}.tfrecord-{number:05d}"

    @property
    def frames(self):
        """Actions in the shards that are whole."""
        return sum(shard["frames"] for shard in self.shards)

    def add(self, episode):
        """Take an episode, {name: array [T]}; it is compressed in the background."""
        frames = len(episode["action"]) - 1
        self._pending.append((frames, episode, self._threads.submit(self._serialize, episode)))
        if sum(frames for frames, *_ in self._pending) >= self.shard_frames:
            self.flush()

    def _serialize(self, episode):
        steps = episode | {"observation": [episode_format.png(f) for f in episode["observation"]]}
        return self._serializer.serialize_example(
            {"steps": steps, "score": episode["reward"].sum()}
        )

    def flush(self):
        """Write what was added as the next shard."""
        if not self._pending:
            return
        serialized = [future.result() for *_, future in self._pending]
        path = self._path(len(self.shards))
        try:
            with files.replacing(path) as file, tf.io.TFRecordWriter(file.name) as shard:
                for record in serialized:
                    shard.write(record)
        except tf.errors.OpError as error:
            raise CommandError(f"{path}: {error.message}; the same command goes on") from error
        self.shards.append(
            {
                "frames": sum(frames for frames, *_ in self._pending),
                "bytes": sum(map(len, serialized)),
                "scores": [float(episode["reward"].sum()) for _, episode, _ in self._pending],
            }
        )
        files.write_json(self.list, self.shards)
        self._pending = []

    def finish(self, **facts):
        """Write TFDS's metadata and give the folder its name."""
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
