"""A data set of images as two exact streams: a resumed run reads what an unbroken one would."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable

import tensorflow as tf

from sobolev_tf.keras_support import batching
from train.lib.images import augment, tfrecords
from train.lib.run.cli import UsageError

PARALLEL = os.cpu_count()  # images that are decoded at a time
PREFETCH = 4  # batches


@dataclasses.dataclass(frozen=True)
class Images:
    """A data set, described, with its two streams; made by `data.load`."""

    name: str
    version: str  # TFDS's, or what is held out of the images that are drawn
    class_names: tuple
    train_size: int
    eval_size: int
    where: str
    image_size: int
    batch_size: int
    seed: int
    notice: str  # a loud line, where this is not what the user may think
    files: tuple
    _train: Callable  # first example -> endless examples
    _draw: Callable  # example, seed -> image [H,W,3], label
    _eval: Callable  # -> the examples of the evaluation split
    _show: Callable  # example -> image, label

    @property
    def classes(self):
        return len(self.class_names)

    @property
    def steps_per_epoch(self):
        """Steps that see about every image once: batches run on across the epoch's end."""
        return max(1, self.train_size // self.batch_size)

    def describe(self):
        """What a run folder keeps about its data; not where it lies, for that may change."""
        kept = (str, int)
        facts = {key: value for key, value in vars(self).items() if isinstance(value, kept)}
        del facts["where"]
        return facts | {"classes": self.classes}

    def train_stream(self, start_step=0):
        """Endless batches (float32 [B,H,W,3], int32 [B]), a pure function of (seed, step)."""
        start = start_step * self.batch_size
        stream = self._train(start).enumerate(start)
        stream = stream.map(
            lambda i, example: self._draw(example, tfrecords.fold_in([self.seed, 1], i)),
            num_parallel_calls=PARALLEL,
        )
        return self._batched(stream, drop_remainder=True)

    def eval_dataset(self):
        """All held-out images once, in order; the last batch may be smaller."""
        stream = self._eval().map(self._show, num_parallel_calls=PARALLEL)
        batches = -(-self.eval_size // self.batch_size)
        # Known in advance, Keras does not warn that the data ran out.
        known = tf.data.experimental.assert_cardinality(batches)
        return self._batched(stream, drop_remainder=False).apply(known)

    def _batched(self, stream, drop_remainder):
        options = tf.data.Options()
        options.deterministic = True
        stream = stream.batch(self.batch_size, drop_remainder).map(self._finish)
        return batching.without_autotune(stream.prefetch(PREFETCH).with_options(options))

    def _finish(self, images, labels):
        """Checks labels once a batch, on the host, and normalises."""
        wrong = tf.boolean_mask(labels, (labels < 0) | (labels >= self.classes))
        check = tf.debugging.Assert(tf.size(wrong) == 0, [tf.strings.format("LABEL {}", wrong)])
        with tf.control_dependencies([check]):
            return augment.normalise(images), tf.cast(labels, tf.int32)

    @contextlib.contextmanager
    def named_errors(self):
        """Turns what goes wrong while reading into a UsageError that names shard or label."""
        try:
            with tfrecords.named_errors(self.files):
                yield
        except tf.errors.InvalidArgumentError as error:
            if match := re.search(r"LABEL \[(-?\d+)", str(error)):
                raise UsageError(
                    f"label {match[1]} in {self.where}: expected 0 to {self.classes - 1}, as "
                    "its features.json names the classes; correct one of the two"
                ) from error
            if match := re.search(r"[^\n]*(?:JPEG|PNG)[^\n]*", str(error)):
                raise UsageError(
                    f"an image in {self.where} cannot be decoded: {match[0].strip()}; "
                    "prepare the data set again"
                ) from error
            raise
