"""Arrays on the device as what Keras's `fit` reads: a batch is some of their rows, by number.

Keras makes a data set of arrays, and a new iterator of it at each epoch; on small data that takes
longer than the steps. Here its loop gets one object for all epochs, which runs several steps as
one call where nobody looks at the steps between.
"""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.trainers.data_adapters.data_adapter import DataAdapter

MOST_BYTES = 2**30  # of arrays that are held on the device; Keras's way needs a batch there
_NUMBERS = 2**16  # rows whose order is made at once, and that a call takes at most
_SECONDS = 0.1  # that a call may last: progress is shown, and Ctrl-C is heard, between calls

_XLA_WORK = 2e10  # steps times rows times weights

# From batches, the numbers of the rows that they take next, and the steps to the last step's logs.
Loop = Callable[["ArrayBatches", Any, int], Any]


def xla_pays(steps: int, rows: int, weights: int) -> bool:
    """Tell whether so many steps save the seconds that XLA takes to compile one.

    A rule of thumb by work alone: a seed then gives the same weights on every machine. A net of
    2x256 units in batches of 100 is compiled for 3,000 steps, one of 4x20 in batches of 512 for
    29,000.

    Args:
      steps: all steps that are known to be taken.
      rows: of a batch.
      weights: numbers that are trained.

    Example:

    >>> xla_pays(1600, 512, 1341), xla_pays(5000, 100, 67073)
    (False, True)
    """
    return steps * rows * weights >= _XLA_WORK


def on_device(arrays: Any, floatx: str | None = None) -> Any:
    """Return arrays [B,...] as tensors; None for what is not dense numbers, or too much of them.

    Args:
      arrays: in any structure.
      floatx: the dtype of floating-point numbers; None leaves them theirs.
    """
    arrays = keras.tree.lists_to_tuples(arrays)
    leaves = keras.tree.flatten(arrays)
    if not all(map(_is_dense, leaves)) or sum(map(_bytes, leaves)) > MOST_BYTES:
        return None

    def tensor(array):
        floating = tf.as_dtype(array.dtype).is_floating
        tensor = tf.convert_to_tensor(array)
        return tf.cast(tensor, floatx) if floating and floatx else tensor

    return keras.tree.map_structure(tensor, arrays)


class ArrayBatches(DataAdapter):
    """Batches of arrays for `fit` or `evaluate`, in a new order at each pass.

    Args:
      arrays: tensors [B,...], in any structure.
      batch_size: rows in a batch. A batch of all rows keeps their order.
      shuffle: whether the order is random: a function of TensorFlow's seed and of the pass.
      steps: of an epoch, in full batches without end; None for all rows once, where the last batch
        may have fewer.
      steps_per_call: of Keras's loop.
      watched: whether somebody looks at the model after each of Keras's calls. If not, time decides
        how many of them are taken as one, see `Pace`.

    Attributes:
      arrays: the tensors.
      spec: theirs, with any number of rows.
      key: tells programs apart that are for other tensors.
      size: rows of a batch.
      whole: whether a batch is all rows.
      full: whether every batch has as many.
      most: steps that a call takes at most.
      xla: whether a loop that may be an XLA program is one: see `xla_pays`.
    """

    def __init__(
        self,
        arrays: Any,
        batch_size: int,
        shuffle: bool = False,
        steps: int | None = None,
        steps_per_call: int = 1,
        watched: bool = False,
    ) -> None:
        self.arrays = arrays
        self.spec = tf.nest.map_structure(
            lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), arrays
        )
        self._rows = int(keras.tree.flatten(arrays)[0].shape[0])
        self.size = min(batch_size, self._rows)
        self.whole = self.size == self._rows
        self.xla = True
        self.key = repr(self.spec), self.whole
        self._steps = steps or -(-self._rows // self.size)
        self._rows_of_epoch = self._steps * self.size if steps else self._rows
        self.full = self._rows_of_epoch % self.size == 0
        self.pace = None if watched else Pace(steps_per_call)
        calls = max(_NUMBERS // (self.size * steps_per_call), 1)
        self._per_call, self.most = steps_per_call, calls * steps_per_call
        self._shuffle, self._seed = shuffle, None
        if shuffle and not self.whole:  # from TensorFlow's, which keras.utils.set_random_seed sets
            self._seed = tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int32)
        self._next_pass, self._order = 0, np.zeros([0], np.int32)
        self._left = self._ahead = 0
        self._logs: Any = None

    @property
    def num_batches(self) -> int:
        """Steps of an epoch."""
        return self._steps

    def get_tf_dataset(self) -> "ArrayBatches":
        """Return itself: all that Keras asks of a data set is an iterator for each epoch."""
        return self

    def __iter__(self) -> "ArrayBatches":
        return self

    def __next__(self) -> Any:
        """Return the next batch, where no loop takes it."""
        if not self._left:
            raise StopIteration
        rows = min(self.size, self._left)
        self._left -= rows
        numbers = self._numbers(rows)
        if self.whole:
            return self.arrays
        return tf.nest.map_structure(lambda array: tf.gather(array, numbers), self.arrays)

    def on_epoch_begin(self) -> None:
        """Begin an epoch; skip rows that the last epoch did not take."""
        self._order = self._order[self._left :]
        self._left, self._ahead = self._rows_of_epoch, 0

    def run(self, loop: Loop) -> Any:
        """Take the steps of one call of Keras's; return the last one's logs.

        With a `pace`, it may also take the steps of Keras's next calls, which then return the same
        logs.

        Args:
          loop: runs so many steps on rows of such numbers.
        """
        if self._ahead:
            self._ahead -= 1
            return self._logs
        steps = min(self.pace.steps if self.pace else self._per_call, self.most)
        rows = min(steps * self.size, self._left)
        self._left -= rows
        steps = -(-rows // self.size)
        start = time.perf_counter()
        self._logs = loop(self, self._numbers(rows), steps)
        if self.pace:
            self._ahead = -(-steps // self._per_call) - 1
            tf.nest.flatten(self._logs)[0].numpy()  # a GPU may still be at it
            self.pace.measured(steps, time.perf_counter() - start)
        return self._logs

    def _numbers(self, rows):
        """The numbers of the next rows; none where a batch is all of them."""
        if self.whole:
            return self._order
        while len(self._order) < rows:
            passes = max(_NUMBERS // self._rows, 1)
            self._order = np.concatenate([self._order, self._orders(passes)])
            self._next_pass += passes
        numbers, self._order = self._order[:rows], self._order[rows:]
        return numbers

    def _orders(self, passes):
        if not self._shuffle:
            return np.tile(np.arange(self._rows, dtype=np.int32), passes)
        first = tf.constant(self._next_pass, tf.int64)
        return _shuffled(tf.constant(self._rows), self._seed, first, passes).numpy()


class Pace:
    """How many steps are taken at once, by the time that steps take: 1, 1, 2, 4, ...

    Args:
      unit: what divides their number.

    Attributes:
      steps: what is taken next.
      most: what was taken at most.
      seconds: of a step; 0 before the second time, for the first one traces it.
    """

    def __init__(self, unit: int = 1) -> None:
        self._unit, self._times = unit, 0
        self.steps, self.most, self.seconds = unit, unit, 0.0

    def measured(self, steps: int, seconds: float) -> None:
        """Choose what is taken next by what was taken last."""
        self._times, self.most = self._times + 1, max(self.most, steps)
        if self._times > 1:
            self.seconds = seconds / steps
            fitting = int(_SECONDS / max(self.seconds, 1e-9)) // self._unit * self._unit
            self.steps = max(self._unit, min(fitting, 2 * self.steps))

    def __str__(self) -> str:
        step = f"a step takes {self.seconds * 1e3:.2g} ms"
        return f"{step}, so up to {self.most} ran in one call: see compile's steps_per_execution."


@tf.function(reduce_retracing=True, autograph=False)
def _shuffled(rows, seed, first, passes):
    """The orders [passes * rows] of passes; each is a function of seed and its number."""

    def order(number):
        seeds = [tf.cast(seed, tf.int64), number]
        return tf.random.experimental.stateless_shuffle(tf.range(rows), seeds)

    numbers = first + tf.range(passes, dtype=tf.int64)
    spec = tf.TensorSpec([None], tf.int32)
    return tf.reshape(tf.map_fn(order, numbers, fn_output_signature=spec), [-1])


def _is_dense(array):
    if isinstance(array, np.ndarray):
        return array.dtype.kind in "fiub"
    dense = isinstance(array, tf.Tensor) and not isinstance(array, tf.RaggedTensor)
    return dense and (array.dtype.is_floating or array.dtype.is_integer or array.dtype.is_bool)


def _bytes(array):
    return int(np.prod(array.shape)) * tf.as_dtype(array.dtype).size
