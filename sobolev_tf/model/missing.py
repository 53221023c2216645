"""Missing labels: NaN entries are masked under `compile(missing="nan")`, or refused."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf.model import labels
from sobolev_tf.model.sample_weights import beside_labels


def mask_missing(
    label: tf.Tensor, predicted: tf.Tensor, weight: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Mask the NaN entries of a label: they get no error and no gradient.

    A missing entry becomes 0 on both sides before anything is subtracted, so it has no part in
    norms either. Rows without any entry get weight 0, for losses that do not vanish there.

    Args:
      label, predicted: [B,...].
      weight: [B], or None for 1.

    Returns:
      label, predicted and weight [B]; all as they are where the label holds integers.

    Example:

    >>> label, predicted = tf.constant([[np.nan, 1.0]]), tf.constant([[5.0, 6.0]])
    >>> [t.numpy().tolist() for t in mask_missing(label, predicted)]
    [[[0.0, 1.0]], [[0.0, 6.0]], [1.0]]
    """
    if not label.dtype.is_floating:
        return label, predicted, weight
    label = tf.cast(label, predicted.dtype)
    missing = tf.math.is_nan(label)
    present = tf.reduce_any(~missing, list(range(1, len(label.shape))))
    label, predicted = (tf.where(missing, tf.zeros_like(t), t) for t in (label, predicted))
    present = tf.cast(present, predicted.dtype)
    if weight is not None:
        present *= tf.reshape(tf.cast(weight, predicted.dtype), [-1])
    return label, predicted, present


def complete_rows(
    label: tf.Tensor, predicted: tf.Tensor, weight: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Keep the rows whose label has no NaN.

    Args:
      label, predicted: [B,...].
      weight: [B], or None.

    Returns:
      label, predicted and weight of those rows.

    Example:

    >>> label = tf.constant([[np.nan], [1.0]])
    >>> [t.numpy().tolist() for t in complete_rows(label, tf.zeros([2, 1]))[:2]]
    [[[1.0]], [[0.0]]]
    """
    if not label.dtype.is_floating:
        return label, predicted, weight
    complete = ~tf.reduce_any(tf.math.is_nan(label), list(range(1, len(label.shape))))
    label, predicted = (tf.boolean_mask(t, complete) for t in (label, predicted))
    return label, predicted, None if weight is None else tf.boolean_mask(weight, complete)


def refuse_nan(y: Any, order: int, start: int = 0) -> None:
    """Refuse labels with NaN; runs on the host, since XLA drops asserts.

    Args:
      y: labels in any form, as arrays.
      order: J.
      start: the number of the first row.

    Raises:
      ValueError: names the order and the row (from 0) of the first NaN.

    Example:

    >>> refuse_nan((np.array([0.0]), np.array([np.nan])), order=1)
    Traceback (most recent call last):
    ValueError: label d1 has NaN, first in row 0: mend it, or compile(missing="nan") to leave \
such entries out.
    """
    arrays = [
        (name, np.asarray(array))
        for name, label in labels.by_name(y, order, extra=("directions",)).items()
        for array in (label.values() if isinstance(label, dict) else [label])
    ]
    for name, array in arrays:
        if array.dtype.kind == "f" and (missing := np.isnan(array)).any():
            rows = missing.reshape(len(array), -1).any(axis=1)
            raise ValueError(
                f"label {name} has NaN, first in row {start + int(np.argmax(rows))}: mend it, "
                'or compile(missing="nan") to leave such entries out.'
            )


def refuse_nan_in(
    dataset: Any, order: int, missing: str | None = None, steps: int | None = None
) -> None:
    """Refuse a data set of batches (x, y, ...) with NaN labels; reads up to the first of them.

    Args:
      dataset: anything but a data set passes.
      order: J.
      missing: None refuses NaN.
      steps: how many batches to read; None for all.

    Raises:
      ValueError: as `refuse_nan`.
    """
    if missing is not None or not isinstance(dataset, tf.data.Dataset):
        return
    start = 0
    for batch in dataset.take(steps or -1):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        refuse_nan(y, order, start)
        start += len(tf.nest.flatten(x)[0])


def normalize(y: Any, sample_weight: Any, order: int, missing: str | None) -> tuple[Any, Any]:
    """Return labels and weights of arrays as Keras takes them: in the same structure, by name.

    One array of labels passes unchanged, and so does one array of weights.

    Args:
      y: labels in any form, or None.
      sample_weight: [B], or by name of term, or None.
      order: J.
      missing: None refuses NaN.

    Raises:
      ValueError: as `refuse_nan` and `labels.normalize`.
    """
    by_name = labels.normalize(y, order)
    if missing is None:
        refuse_nan(by_name, order)
    if not keras.tree.is_nested(y):  # class_weight needs it as it is
        return y, sample_weight
    if keras.tree.is_nested(sample_weight):
        weights = labels.weights_by_name(sample_weight, order)
        sample_weight = beside_labels(by_name, weights)
    return by_name or None, sample_weight
