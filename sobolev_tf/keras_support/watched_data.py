"""Data sets, generators and PyDatasets whose batches are looked at on the host."""

import types
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

# From a batch, its number and that of its first row to the batch as a step takes it.
Look = Callable[[Any, int, int], Any]


class WatchedData:
    """A stream of batches that are looked at: a wrong one is an error that names batch and row.

    Batches of a generator or a PyDataset are looked at before a step takes them; what that or the
    user's own code raises is raised again as it was, where TensorFlow would wrap it. Data sets are
    not slowed: `read_again` looks through them where a loss is not finite.

    Args:
      data: a data set, a generator or a PyDataset; anything else stays as it is.
      look: returns the batch, or raises ValueError where it is wrong.

    Attributes:
      data: what Keras takes in place of `data`.
    """

    def __init__(self, data: Any, look: Look) -> None:
        self._source, self._look = data, look
        self._error: Exception | None = None
        self.data: Any = data
        if isinstance(data, types.GeneratorType):
            self.data = self._generate(data)
        elif isinstance(data, keras.utils.PyDataset) and not data.use_multiprocessing:
            self.data = _WatchedPyDataset(data, self._item)

    def reraise(self) -> None:
        """Raise what reading a generator or a PyDataset raised, if anything."""
        if self._error is not None:
            raise self._error from None

    def read_again(self, steps: int | None = None) -> None:
        """Look at the batches of a data set, all or the first `steps`.

        Other streams cannot be read twice, and were looked at.
        """
        if isinstance(self._source, tf.data.Dataset):
            row = 0
            for number, batch in enumerate(self._source.take(steps or -1)):
                self._look(batch, number, row)
                row += _rows(batch)

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
        # All batches but the last have as many rows as this one.
        return self._kept(self._look, batch, index, index * _rows(batch))

    def _generate(self, batches: Iterator) -> Iterator:
        number = row = 0
        while True:
            try:
                batch = self._kept(next, batches)
            except StopIteration:
                return
            yield self._kept(self._look, batch, number, row)
            number, row = number + 1, row + _rows(batch)


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
