"""A share of a batch's rows, at which derivatives are compared: cheaper steps.

The rows are drawn anew at every step, so that the mean over them is an unbiased estimate of the
mean over the batch.
"""

import math
from typing import Any

import tensorflow as tf

from sobolev_tf import require

_ROUNDING = 1e-9  # 0.07 * 100 is a little more than 7


def checked(share: float) -> float:
    """Return `derivative_share` of `compile` as a float.

    Raises:
      ValueError: it is not above 0 and at most 1.

    Example:

    >>> checked(0.5)
    0.5
    """
    if require.number("compile", "derivative_share", share, above=0) > 1:
        raise ValueError(f"compile: derivative_share is at most 1, got {share}.")
    return float(share)


def draw(tensors: Any, share: float, step: tf.Tensor) -> Any:
    """Draw the rows of one step: ⌈share·B⌉ of B, without repetition.

    Args:
      tensors: any structure of tensors [B,...] and Nones; the first is a tensor.
      share: between 0 and 1.
      step: the training step, which is the seed.

    Returns:
      The same structure, of the rows that were drawn.

    Example:

    >>> rows, nothing = draw((tf.range(10), None), 0.25, tf.constant(7))
    >>> rows.shape
    TensorShape([3])
    """
    first = tf.nest.flatten(tensors)[0]
    known, total = first.shape[0], tf.shape(first)[0]
    count = (
        tf.cast(tf.math.ceil(share * tf.cast(total, tf.float64) - _ROUNDING), total.dtype)
        if known is None
        else math.ceil(share * known - _ROUNDING)
    )
    # Sorted by random integers, which are the same under XLA; that has no stateless_shuffle.
    seed = [0, tf.cast(step, tf.int32)]
    keys = tf.random.stateless_uniform([total], seed, None, None, tf.int32, alg="philox")
    rows = tf.argsort(keys)[:count]
    return tf.nest.map_structure(lambda t: None if t is None else tf.gather(t, rows), tensors)
