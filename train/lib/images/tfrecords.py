"""TFRecord shards: read in an order that is a pure function of (seed, epoch), and checked."""

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence

import tensorflow as tf
from numpy.typing import ArrayLike

from train.lib.run.errors import UsageError

Files = Sequence[str | os.PathLike]

PARALLEL = 16  # shards that are read side by side, and mixed
WINDOW_BYTES = 256 * 2**20  # records shuffled at a time


def shuffled(
    files: Files, lengths: Sequence[int], seed: int, start: int = 0, window: int | None = None
) -> tf.data.Dataset:
    """Stream raw records forever, every epoch in an order of its own, from record `start` on.

    An epoch permutes the shards, reads them in groups of PARALLEL, and shuffles windows of
    records. Skipping reads at most one group: whole epochs and groups are passed over unread.

    Args:
      files: the shards.
      lengths: their numbers of records.
      seed: of the order.
      start: the record to begin with, counted over all epochs.
      window: records that are shuffled at a time; default WINDOW_BYTES of them.
    """
    total, groups = sum(lengths), -(-len(files) // PARALLEL)
    if window is None:
        size = sum(os.path.getsize(file) for file in files) / total
        window = max(1, min(total, int(WINDOW_BYTES / size)))
    lengths = tf.constant(lengths, tf.int64)
    files = tf.constant([os.fspath(file) for file in files])

    def epoch(number):
        key = fold_in([seed, 0], number)
        order = tf.random.experimental.stateless_shuffle(tf.range(len(files)), key)
        ends = tf.cumsum(tf.gather(lengths, order))
        skip = tf.where(number == start // total, tf.constant(start % total, tf.int64), 0)
        first = tf.searchsorted(ends, [skip], side="right")[0] // PARALLEL
        passed = tf.concat([[0], ends], 0)[first * PARALLEL]

        def group(index):
            chosen = order[index * PARALLEL : (index + 1) * PARALLEL]
            rest = tf.where(index == tf.cast(first, tf.int64), skip - passed, 0)
            records = tf.data.TFRecordDataset(tf.gather(files, chosen), num_parallel_reads=PARALLEL)
            return _mixed(records, fold_in(key, index), window, rest)

        return tf.data.Dataset.range(tf.cast(first, tf.int64), groups).flat_map(group)

    return tf.data.Dataset.range(start // total, tf.int64.max).flat_map(epoch)


def _mixed(records, key, window, skip):
    """Shuffle records window by window, and leave out the first `skip` of the result."""
    windows = records.batch(window).enumerate().skip(skip // window)
    mixed = windows.map(
        lambda i, batch: tf.random.experimental.stateless_shuffle(batch, fold_in(key, i))
    )
    return mixed.prefetch(1).unbatch().skip(skip % window)


@contextlib.contextmanager
def named_errors(files: Files) -> Iterator[None]:
    """Turn a wrong checksum in one of the files into a UsageError that names it."""
    try:
        yield
    except tf.errors.DataLossError as error:
        if broken := find_broken(files):
            raise UsageError(
                f"shard {broken[0]} is corrupt at record {broken[1]}: wrong checksum; "
                "copy or prepare the data set again"
            ) from error
        raise


def is_of_reading(error: Exception) -> bool:
    """Return whether an error came out of a stream, and not out of a model that trains on it.

    Whatever a stream raises passes through the operation that takes its next element. Where
    a message would have bytes of a record in it, that is a UnicodeDecodeError.
    """
    if isinstance(error, tf.errors.OpError):
        other = (  # out of memory, or another worker is gone
            tf.errors.ResourceExhaustedError | tf.errors.UnavailableError | tf.errors.AbortedError
        )
        return "GetNext" in error.message and not isinstance(error, other)
    return isinstance(error, UnicodeDecodeError)


def fold_in(key: ArrayLike, number: int | tf.Tensor) -> tf.Tensor:
    """Derive a seed [2] from a seed [2] and a number of any integer type."""
    return tf.random.experimental.stateless_fold_in(tf.cast(key, tf.int32), number)


def check(files: Files, lengths: Sequence[int], num_bytes: int) -> None:
    """Raise UsageError naming the first shard that is missing, empty or cut short.

    Reads nothing if the sizes add up: a TFRecord spends 16 bytes around every record.
    """
    for file in files:
        if not os.path.exists(file):
            raise UsageError(f"shard {file} is missing; prepare the data set again")
        if os.path.getsize(file) == 0:
            raise UsageError(f"shard {file} is empty (0 bytes); prepare the data set again")
    if sum(os.path.getsize(file) for file in files) == num_bytes + 16 * sum(lengths):
        return
    for file, length in zip(files, lengths, strict=True):
        whole, rest = _count(file)
        if rest or whole != length:
            raise UsageError(
                f"shard {file} is broken: expected {length} records, got {whole}"
                f"{' and a piece of one' if rest else ''}; prepare the data set again"
            )


def _count(file):
    """Return the number of whole records in a shard, and whether something is left over."""
    size, offset, whole = os.path.getsize(file), 0, 0
    with open(file, "rb") as shard:
        while len(header := shard.read(8)) == 8:
            offset += struct.unpack("<Q", header)[0] + 16
            if offset > size:
                return whole, True
            shard.seek(offset)
            whole += 1
    return whole, bool(header)


def find_broken(files: Files) -> tuple[str | os.PathLike, int] | None:
    """Return (shard, record number) of the first record whose checksum is wrong, or None."""
    for file in files:
        number = 0
        try:
            for _ in tf.data.TFRecordDataset(os.fspath(file)):
                number += 1
        except tf.errors.DataLossError:
            return file, number
    return None
