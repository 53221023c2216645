"""Losses that compare the entries of a label with each other, and rows that are partly missing.

Where a label is missing, label and prediction are 0. A squared error then adds nothing, nor does a
norm. A loss of single entries, such as a cross-entropy of logits, adds what it gives for (0, 0),
which is subtracted. A softmax, which needs the labels of all classes, takes complete rows only.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from sobolev_tf import losses

_TOLERANCE = 1e-3  # of losses in float32


def couples_entries(loss: Callable, size: int) -> bool:
    """Tell whether a loss needs all entries of the last axis, or none, by trying it out.

    A sum over entries needs none. Nor does a loss that ignores entries that are 0, up to a factor,
    such as a norm. False also if the loss does not accept floats of this shape.

    Args:
      loss: as `losses.resolve` returns it.
      size: of the last axis.

    Example:

    >>> import keras
    >>> couples_entries(losses.resolve("mse"), 3), couples_entries(losses.resolve("hinge"), 3)
    (False, False)
    >>> couples_entries(keras.losses.CategoricalCrossentropy(from_logits=True), 3)
    True
    """
    if size < 2 or isinstance(loss, losses.NORMS):
        return False
    rng = np.random.default_rng(0)
    shares, others = rng.uniform(0.05, 0.95, [2, 8, size])
    label = np.concatenate([shares, shares])
    predicted = np.concatenate([others, rng.normal(size=[8, size])])  # probabilities, logits
    kept = np.arange(size) > 0

    def run(factors, entries=slice(None)):
        pair = ((t * factors)[:, entries] for t in (label, predicted))
        values = losses.per_example(loss, *(tf.constant(t, tf.float32) for t in pair))
        return values.numpy().astype("float64")

    with warnings.catch_warnings(), tf.init_scope():  # a trace cannot tell numbers
        warnings.simplefilter("ignore")  # of Keras, about rows of one class
        try:
            nothing, zeroed, alone = run(0), run(kept), run(1, kept)
            if _agree(zeroed + run(~kept) - nothing, run(1)):
                return False
        except Exception:  # whatever a loss of other labels, or of one size, refuses
            return False
    if not np.isfinite(nothing).all():
        return True
    numbers = np.isfinite(zeroed) & np.isfinite(alone)
    zeroed, alone = zeroed[numbers], alone[numbers]
    if not alone.any():
        return bool(zeroed.any())
    return not _agree(alone * (zeroed @ alone / (alone @ alone)), zeroed)


def filler(couples: bool) -> float:
    """Return the prediction that stands where a label, 0, is missing.

    Where all of a row is missing, it is a logit and a probability: of zeros, the latter have no
    cross-entropy.

    >>> filler(couples=False), filler(couples=True)
    (0.0, 0.5)
    """
    return 0.5 if couples else 0.0


def without_missing(
    values: tf.Tensor, loss: Callable, missing: tf.Tensor, like: tf.Tensor, couples: bool
) -> tf.Tensor:
    """Take out of losses what missing entries have added.

    Args:
      values: losses [B].
      loss: that gave them.
      missing: bool [B,...], which entries are missing: `missing.mask_missing` has filled them.
      like: the predictions [B,...].
      couples: whether the loss couples entries.

    Returns:
      [B]; NaN where the loss couples entries of which only some are missing.

    Example:

    >>> missing, zeros = tf.constant([[True, False]]), tf.zeros([1, 2])
    >>> without_missing(tf.constant([1.5]), losses.resolve("hinge"), missing, zeros, False).numpy()
    array([1.], dtype=float32)
    """
    label = tf.zeros([1, *like.shape[1:]], like.dtype)
    added = losses.per_example(loss, label, label + filler(couples))
    share = tf.reduce_mean(tf.cast(missing, values.dtype), list(range(1, len(missing.shape))))
    values -= share * tf.cast(tf.where(tf.math.is_finite(added), added, 0), values.dtype)
    if not couples:
        return values
    partly = tf.reduce_any(missing, -1) & ~tf.reduce_all(missing, -1)
    partly = tf.reduce_any(tf.reshape(partly, [tf.shape(values)[0], -1]), 1)
    return tf.where(partly, tf.constant(float("nan"), values.dtype), values)


def refuse_partly_missing(
    caller: str, name: str, loss: Any, label: np.ndarray, start: int, where: str
) -> None:
    """Refuse labels of a loss that couples entries, where some entries of a row are missing.

    Args:
      caller: the method that the error names.
      name: the label's, such as "label value".
      loss: the label's.
      label: [B,...], NaN where an entry is missing.
      start: the number of the first row.
      where: which batch, for the error.

    Raises:
      ValueError: names the label and the first row.
    """
    missing = np.isnan(label)
    partly = (missing.any(-1) & ~missing.all(-1)).reshape(len(label), -1).any(1)
    if partly.any():
        raise ValueError(
            f"{caller}: {name} is partly missing, first in row {start + int(np.argmax(partly))}"
            f"{where}, and its loss, {losses.name_of(loss)}, compares entries with each other: set "
            "all of them to NaN, or take a loss of single entries."
        )


def _agree(values, expected):
    """Whether losses are the same where the expected ones are numbers."""
    valid = np.isfinite(expected)
    size = np.abs(expected[valid]).mean() if valid.any() else np.nan
    return bool(np.all(np.abs(values - expected)[valid] <= _TOLERANCE * size))
