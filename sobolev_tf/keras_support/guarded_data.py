"""Data sets whose batches are looked at in the input pipeline, before a step takes them.

Each batch passes a few sums inside the pipeline. Where these are not sound, the batch is looked at
on the host, which names the row. The step never sees it, whatever runs the step: several steps in
one execution, XLA, or replicas.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

# From a batch, its number and that of its first row: raises where the batch is wrong.
HostLook = Callable[[Any, int, int], Any]


def guard(data: tf.data.Dataset, sound: Callable[[Any], tf.Tensor], look: HostLook) -> Any:
    """Return a data set of the same batches, which ends with an error at a wrong one.

    Args:
      data: batches of dense tensors; ragged, sparse and text ones pass without a look.
      sound: from a batch to whether it is surely right, in TensorFlow operations.
      look: is called with the arrays of each batch that is not surely right.

    Returns:
      The data set, of the same cardinality.

    Example:

    >>> def refuse(batch, number, row):
    ...     raise ValueError(f"batch {number} from row {row}")
    >>> data = tf.data.Dataset.from_tensor_slices([1.0, 2.0, np.nan]).batch(2)
    >>> guarded = iter(guard(data, lambda batch: all_finite([batch]), refuse))
    >>> next(guarded).numpy().tolist()
    [1.0, 2.0]
    """
    spec = data.element_spec
    dense = [i for i, leaf in enumerate(tf.nest.flatten(spec)) if _is_dense(leaf)]
    if not dense:
        return data

    def on_host(number, row, *arrays):
        leaves: list[Any] = [None] * len(tf.nest.flatten(spec))
        for i, array in zip(dense, arrays, strict=True):
            leaves[i] = array
        look(tf.nest.pack_sequence_as(spec, leaves), int(number), int(row))
        return np.True_

    @tf.autograph.experimental.do_not_convert
    def pass_on(state, batch):
        number, row = state
        leaves = tf.nest.flatten(batch)
        shown = [leaves[i] for i in dense]
        on_sight = tf.cond(
            sound(batch),
            lambda: True,
            lambda: tf.ensure_shape(tf.numpy_function(on_host, [number, row, *shown], tf.bool), []),
        )
        with tf.control_dependencies([on_sight]):
            rows = tf.shape(shown[0], tf.int64)[0] if shown[0].shape.rank != 0 else 0
            return (number + 1, row + rows), batch

    return data.scan((tf.constant(0, tf.int64), tf.constant(0, tf.int64)), pass_on)


def all_finite(tensors: Iterable[tf.Tensor]) -> tf.Tensor:
    """Tell whether all numbers are finite, by one sum a tensor.

    A sum that overflows counts as not finite: who looks at the numbers knows better.

    >>> bool(all_finite([tf.ones([2]), tf.constant([1, 2])])), bool(all_finite([tf.math.log(-1.0)]))
    (True, False)
    """
    sums = [tf.reduce_sum(_wide(t)) for t in tensors if t.dtype.is_floating]
    if not sums:
        return tf.constant(True)
    return tf.math.is_finite(tf.add_n([tf.cast(total, tf.float64) for total in sums]))


def same_rows(tensors: Iterable[tf.Tensor]) -> tf.Tensor:
    """Tell whether tensors have as many rows each.

    >>> bool(same_rows([tf.zeros([2]), tf.zeros([2, 3])])), bool(same_rows([]))
    (True, True)
    """
    shapes = [t for t in tensors if t.shape.rank != 0]
    known = {t.shape[0] for t in shapes if t.shape.rank is not None}
    if len(shapes) < 2 or (len(known) == 1 and None not in known):
        return tf.constant(True)
    rows = tf.stack([tf.shape(t)[0] for t in shapes])
    return tf.reduce_all(rows[1:] == rows[:-1])


def _wide(t):
    return t if t.dtype.size >= 4 else tf.cast(t, tf.float32)


def _is_dense(spec):
    numbers = isinstance(spec, tf.TensorSpec) and not isinstance(spec, tf.RaggedTensorSpec)
    return numbers and (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool)
