"""Data sets, generators and PyDatasets whose batches are checked before a step takes them."""

import collections
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.keras_support.graph_errors import raised_in_python
from sobolev_tf.keras_support.guarded_data import guard

# Of a batch, its number and that of its first row; returns the batch as a step takes it.
Check = Callable[[Any, int, int], Any]

_KEPT_BYTES = 2**26  # of a generator's last batches, for `again`
_SECONDS = 30.0  # for which `again` reads


class WatchedData:
    """A stream of batches that are checked: a wrong one is an error that names batch and row.

    No step takes a wrong batch: data sets are checked in their pipeline, generators and
    PyDatasets as they are read. What that or the user's own code raises is raised again as it was,
    where TensorFlow would wrap it.

    Args:
      data: a data set, a generator or a PyDataset; anything else stays as it is.
      check: returns the batch, or raises ValueError where it is wrong.
      surely_right: tells whether a batch is surely right, in TensorFlow operations: see `guard`.

    Attributes:
      data: what Keras takes in place of `data`.
    """

    def __init__(self, data: Any, check: Check, surely_right: Callable[[Any], tf.Tensor]) -> None:
        self._source, self._check = data, check
        self._error: Exception | None = None
        self._last: collections.deque = collections.deque()
        self._bytes = self._full = 0
        self.data: Any = data
        if isinstance(data, tf.data.Dataset):
            self.data = guard(data, surely_right, functools.partial(self._kept, check))
        elif isinstance(data, Iterator):
            self.data = self._generate(data)
        elif isinstance(data, keras.utils.PyDataset):
            self.data = _WatchedPyDataset(data, self._item)

    def reraise(self, error: Exception | None = None) -> None:
        """Raise what reading the stream raised, if anything.

        Args:
          error: TensorFlow's report of it, for what was raised in another process.
        """
        if self._error is not None:
            raise self._error from None
        in_processes = getattr(self._source, "use_multiprocessing", False)
        if in_processes and isinstance(error, tf.errors.OpError):
            own = raised_in_python(error)
            if own is not None:
                raise own from None

    def again(self, steps: int | None = None) -> Iterator[tuple[int, int, Any]]:
        """Yield (number, number of the first row, batch) of batches that were passed on.

        Reads a data set or a PyDataset once more, for half a minute at most; of a generator there
        are its last batches.

        Args:
          steps: how many batches to read; None for all.
        """
        if isinstance(self._source, tf.data.Dataset | keras.utils.PyDataset):
            batches: Any = self._source
            if isinstance(batches, keras.utils.PyDataset):
                length = batches.num_batches
                batches = map(batches.__getitem__, range(length) if length else itertools.count())
            row, start = 0, time.monotonic()
            for number, batch in enumerate(itertools.islice(batches, steps)):
                yield number, row, batch
                row += _rows(batch)
                if time.monotonic() - start > _SECONDS:
                    return
        yield from self._last

    def _kept(self, function: Callable, *arguments: Any) -> Any:
        """Call a function; keep what it raises."""
        try:
            return function(*arguments)
        except StopIteration:
            raise
        except Exception as error:
            self._error = error
            raise

    def _item(self, index, batches):
        batch = self._kept(batches.__getitem__, index)
        self._full = max(self._full, _rows(batch))  # all batches but the last have as many rows
        return self._kept(self._check, batch, index, index * self._full)

    def _generate(self, batches: Iterator) -> Iterator:
        number = row = 0
        while True:
            try:
                batch = self._kept(next, batches)
            except StopIteration:
                return
            batch = self._kept(self._check, batch, number, row)
            self._remember(number, row, batch)
            yield batch
            number, row = number + 1, row + _rows(batch)

    def _remember(self, *entry: Any) -> None:
        """Keep a batch among the last ones, as many as a few megabytes hold."""
        self._last.append(entry)
        self._bytes += _bytes(entry)
        while self._bytes > _KEPT_BYTES:
            self._bytes -= _bytes(self._last.popleft())


class _WatchedPyDataset(keras.utils.PyDataset):
    """A PyDataset that passes on another one's batches."""

    def __init__(self, data: keras.utils.PyDataset, read: Callable):
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self._data, self._read = data, read

    @property
    def num_batches(self):
        return self._data.num_batches

    def __len__(self):
        return len(self._data)

    def __getitem__(self, index):
        return self._read(index, self._data)

    def on_epoch_begin(self):
        self._data.on_epoch_begin()

    def on_epoch_end(self):
        self._data.on_epoch_end()


def _rows(batch):
    leaves = [leaf for leaf in keras.tree.flatten(batch) if getattr(leaf, "shape", ()) != ()]
    return int(leaves[0].shape[0]) if leaves else 0


def _bytes(entry):
    return sum(map(_bytes_of, keras.tree.flatten(entry[-1])))


def _bytes_of(leaf):
    if (known := getattr(leaf, "nbytes", None)) is not None:
        return int(known)
    return int(tf.size(leaf)) * leaf.dtype.size if isinstance(leaf, tf.Tensor) else 0
