"""Derivatives of a share of a batch's rows, values of all of them: cheaper steps of equation 1.

The rows are drawn anew at every step, so that the mean over them is an unbiased estimate of the
mean over the batch.
"""

import math
from typing import Any

import tensorflow as tf

from sobolev_tf.model.labels import Batch
from sobolev_tf.model.terms import Comparison, batch_size


def drawn_rows(batch: Batch, share: float, step: tf.Tensor) -> Batch:
    """Draw the rows of one step: ⌈share·B⌉ of B, without repetition.

    Args:
      batch: rows [B,...].
      share: between 0 and 1.
      step: the training step, which is the seed.

    Returns:
      The batch of the rows that were drawn.

    Example:

    >>> batch = Batch(tf.range(10), {}, {}, {})
    >>> drawn_rows(batch, 0.25, tf.constant(7)).x.shape
    TensorShape([3])
    """
    known = tf.nest.flatten(batch.x)[0].shape[0]
    total = batch_size(batch.x)
    count = (
        tf.cast(tf.math.ceil(share * tf.cast(total, tf.float64)), total.dtype)
        if known is None
        else math.ceil(share * known)
    )
    order = tf.random.experimental.stateless_shuffle(tf.range(total), [0, tf.cast(step, tf.int32)])
    rows = order[:count]
    return Batch(*tf.nest.map_structure(lambda t: tf.gather(t, rows), tuple(batch)))


def combine(values: Comparison | None, derivatives: Comparison, x: Any) -> Comparison:
    """Take the value's term from one comparison, and all others from another one.

    Args:
      values: of all rows, or None where no values are compared.
      derivatives: of the rows that were drawn.
      x: the inputs of all rows.

    Returns:
      A comparison whose terms have different numbers of rows.
    """
    if values is None:
        return derivatives._replace(x=x)
    fields = zip(values[1:], derivatives[1:], strict=True)
    labels, predicted, weights = ({**terms, **_value_of(all_rows)} for all_rows, terms in fields)
    order = ["value", *(name for name in labels if name != "value")]
    return Comparison(x, {name: labels[name] for name in order}, predicted, weights)


def _value_of(terms):
    return {"value": terms["value"]} if "value" in terms else {}
