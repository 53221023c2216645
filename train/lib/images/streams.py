"""A data set of images as two exact streams: a resumed run reads what an unbroken one reads."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterator

import tensorflow as tf

from sobolev_tf.keras_support import batching
from train.lib.images import augment, tfrecords
from train.lib.images.share import WHOLE, Share
from train.lib.run.errors import UsageError, last_line

PARALLEL = os.cpu_count()  # images that are decoded at a time
PREFETCH = 4  # batches


@dataclasses.dataclass(frozen=True)
class Images:
    """A data set, described, with its two streams; made by `datasets.load`."""

    name: str
    version: str  # TFDS's, or what is held out of the images that are drawn
    class_names: tuple[str, ...]
    train_size: int
    eval_size: int
    where: str  # the place, which may change
    image_size: int
    batch_size: int
    seed: int
    augmentation: str  # what "auto" stands for; "none" of images that are drawn
    notice: str  # a loud line, where this is not what the user may think; names no place
    files: tuple[str, ...]
    share: Share  # of every batch, which the streams give
    _train: Callable  # first example -> endless examples
    _draw: Callable  # example, seed -> image [H,W,3], label
    _eval: Callable  # -> the examples of the evaluation split
    _show: Callable  # example -> image, label

    def __post_init__(self):
        self.share.check(self.batch_size, self.eval_size)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see about every image once: batches run on across the epoch's end."""
        return max(1, self.train_size // self.batch_size)

    def refuse_small_rest(self, replicas: int) -> None:
        """Raise UsageError if the last held-out batch has no image for some replica of a process.

        Several workers cut held-out images into other batches, see `eval_dataset`.
        """
        rest = self.eval_size % self.batch_size
        if self.share == WHOLE and 0 < rest < replicas:
            raise UsageError(
                f"--batch_size={self.batch_size} leaves {rest} of {self.eval_size} held-out images "
                f"for the last batch, and there are {replicas} replicas: choose another"
            )

    def describe(self) -> dict:
        """Return what a run folder keeps about its data: all but its place.

        The augmentation is a fact of its own, since older runs do not state it.
        """
        facts = {key: value for key, value in vars(self).items() if isinstance(value, str | int)}
        del facts["where"], facts["augmentation"]
        return facts | {"classes": self.num_classes}  # the key that stored runs have

    def train_stream(self, start_step: int = 0) -> tf.data.Dataset:
        """Stream batches (float32 [B,H,W,3], int32 [B]) without end, pure in (seed, step).

        One of several workers gets its share: the same images that one process would put into
        this part of the batch. It decodes no others, in batches of one replica each.
        """
        start = start_step * self.batch_size
        stream = self._train(start).enumerate(start)
        if self.share != WHOLE:
            stream = stream.filter(
                lambda i, _: self.share.has(i % self.batch_size * self.share.of // self.batch_size)
            ).repeat()  # Keras asks data of unknown length for an end at every step
        stream = stream.map(
            lambda i, example: self._draw(example, tfrecords.fold_in([self.seed, 1], i)),
            num_parallel_calls=PARALLEL,
        )
        return self._finished(stream.batch(self.batch_size // self.share.of, drop_remainder=True))

    def eval_dataset(self) -> tf.data.Dataset:
        """Stream all held-out images once, in order; the last batch may be smaller.

        One of several workers gets its share, in as many batches as the others.
        """
        if self.share == WHOLE:
            batches = self._eval().map(self._show, num_parallel_calls=PARALLEL)
            batches = batches.batch(self.batch_size)
        else:
            batches = self._eval_parts(self.share.of * self._eval_batches())
        # Known in advance, Keras does not warn that the data ran out.
        count = self._eval_batches() * self.share.count
        return self._finished(batches).apply(tf.data.experimental.assert_cardinality(count))

    def _eval_batches(self):
        most = self.eval_size // self.share.of  # so that every replica has an image of each
        return min(-(-self.eval_size // self.batch_size), most)

    def _eval_parts(self, parts):
        """Cut the held-out images into parts, one for each replica and step: this worker's."""
        size = self.eval_size

        def part(i):
            return ((i + 1) * parts - 1) // size

        def length(k):
            return (k + 1) * size // parts - k * size // parts

        stream = (
            self._eval().enumerate().filter(lambda i, _: self.share.has(part(i) % self.share.of))
        )
        stream = stream.map(
            lambda i, example: (part(i), self._show(example)), num_parallel_calls=PARALLEL
        )
        return stream.group_by_window(
            key_func=lambda k, _: k,
            reduce_func=lambda k, images: images.map(lambda _, image: image).batch(length(k)),
            window_size_func=length,
        )

    def first_eval_batch(self) -> tf.Tensor:
        """Return the first held-out images [B,H,W,3]."""
        images, _ = next(iter(self.eval_dataset()))
        return images

    def _finished(self, batches):
        options = tf.data.Options()
        options.deterministic = True
        batches = batches.map(self._finish)
        return batching.without_autotune(batches.prefetch(PREFETCH).with_options(options))

    def _finish(self, images, labels):
        """Check labels once a batch, on the host, and normalize."""
        wrong = tf.boolean_mask(labels, (labels < 0) | (labels >= self.num_classes))
        check = tf.debugging.Assert(tf.size(wrong) == 0, [tf.strings.format("LABEL {}", wrong)])
        with tf.control_dependencies([check]):
            return augment.normalize(images), tf.cast(labels, tf.int32)

    @contextlib.contextmanager
    def named_errors(self) -> Iterator[None]:
        """Turn what goes wrong while reading into one line that says where."""
        try:
            with tfrecords.named_errors(self.files):
                yield
        except (tf.errors.OpError, UnicodeDecodeError) as error:
            if not tfrecords.is_of_reading(error):
                raise
            if match := re.search(r"LABEL \[(-?\d+)", str(error)):
                raise UsageError(
                    f"label {match[1]} in {self.where}: expected 0 to {self.num_classes - 1}, as "
                    "its features.json names the classes; correct one of the two"
                ) from error
            said = last_line(error)
            is_image = re.search("JPEG|PNG|image", said)
            what = "an image" if is_image else "a record"
            raise UsageError(
                f"{what} in {self.where} cannot be decoded: {said}; prepare the data set again"
            ) from error
