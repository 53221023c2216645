"""Shapes of batches: how errors show them, and sizes that are known at run time only."""

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf


def shown_shape(shape: Any) -> str:
    """Return an array's shape as errors show it; rows of no known number are "B".

    >>> shown_shape(tf.TensorShape([None, 3])), shown_shape(tf.TensorShape([5, 3]))
    ('[B, 3]', '[5, 3]')
    """
    sizes = list(shape)
    return batch_shape(sizes[1:]) if sizes[:1] == [None] else str(sizes)


def batch_shape(dims: Iterable[Any]) -> str:
    """Return the shape of a batch as errors show it; axes of no known size are "?".

    >>> batch_shape([None, 3])
    '[B, ?, 3]'
    """
    return "[" + ", ".join(["B", *("?" if n is None else str(n) for n in dims)]) + "]"


def with_axes(t: tf.Tensor, rows: Sequence, dims: Sequence, name: str) -> tf.Tensor:
    """Return t in the shape [*rows, *dims], which is checked at run time where it is not known.

    Args:
      t: a tensor.
      rows: sizes of the first axes, None for any; such as [None] for a batch.
      dims: sizes of the others.
      name: what errors call it, see `graph_errors`.

    Raises:
      tf.errors.InvalidArgumentError: at run time, for any other shape.

    Example:

    >>> with_axes(tf.zeros([5, 2]), [None], [2], name="x").shape
    TensorShape([5, 2])
    """
    expected = tf.TensorShape([*rows, *dims])
    known = t.shape.rank is not None and all(
        size is not None or wanted is None for size, wanted in zip(t.shape, expected, strict=True)
    )
    return t if known else tf.ensure_shape(t, expected, name=name.replace(" ", "_"))
