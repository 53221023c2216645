"""Missing labels: NaN entries are masked under `compile(missing="nan")`."""

from collections.abc import Callable

import tensorflow as tf

from sobolev_tf.keras_support.strategies import sum_over_replicas


def refuse_keras_mask(net: Callable) -> Callable:
    """Return a net that raises ValueError if its output has a Keras mask.

    The mask would be lost in derivatives and losses, and padded steps would count.

    Args:
      net: a function of points, to a tensor [B,*out].

    Example:

    >>> refuse_keras_mask(tf.sin)(tf.constant([0.0])).numpy().tolist()
    [0.0]
    """

    def unmasked(point: tf.Tensor) -> tf.Tensor:
        value = net(point)
        if getattr(value, "_keras_mask", None) is not None:
            raise ValueError(
                "the net's output has a mask (of Masking, or mask_zero=True), which losses of jets "
                "do not read: set the labels of padded steps to NaN, in derivatives too, and "
                'compile(missing="nan").'
            )
        return value

    return unmasked


def mask_missing(
    label: tf.Tensor,
    predicted: tf.Tensor,
    weight: tf.Tensor | None = None,
    filler: float = 0.0,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Mask the NaN entries of a label, so that they contribute no error and no gradient.

    The label of a missing entry becomes 0, and the prediction `filler`, before they are subtracted,
    so that norms do not contain it either. Rows without any entry get weight 0. For losses that are
    not 0 there, see `coupled_entries`.

    Args:
      label, predicted: [B,...].
      weight: [B], or None for 1.
      filler: the prediction of a missing entry, see `coupled_entries.filler`.

    Returns:
      label, predicted and weight [B]; all as they are if the label holds integers.

    Example:

    >>> import numpy as np
    >>> label, predicted = tf.constant([[np.nan, 1.0]]), tf.constant([[5.0, 6.0]])
    >>> [t.numpy().tolist() for t in mask_missing(label, predicted)]
    [[[0.0, 1.0]], [[0.0, 6.0]], [1.0]]
    """
    if not label.dtype.is_floating:
        return label, predicted, weight
    label = tf.cast(label, predicted.dtype)
    missing = tf.math.is_nan(label)
    present = tf.reduce_any(~missing, list(range(1, len(label.shape))))
    label = tf.where(missing, tf.zeros_like(label), label)
    predicted = tf.where(missing, tf.constant(filler, predicted.dtype), predicted)
    present = tf.cast(present, predicted.dtype)
    if weight is not None:
        present *= tf.reshape(tf.cast(weight, predicted.dtype), [-1])
    return label, predicted, present


def present_share(label: tf.Tensor) -> tf.Tensor:
    """Return the share of a label's entries [B,...] that are no NaN, among all replicas' rows.

    >>> float(present_share(tf.constant([[float("nan"), 1.0]])))
    0.5
    """
    if not label.dtype.is_floating:
        return tf.constant(1.0)
    present = tf.reduce_sum(tf.cast(~tf.math.is_nan(label), tf.float32))
    counts = tf.stack([present, tf.cast(tf.size(label), tf.float32)])
    return tf.math.divide_no_nan(*tf.unstack(sum_over_replicas(counts)))


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

    >>> import numpy as np
    >>> label = tf.constant([[np.nan], [1.0]])
    >>> [t.numpy().tolist() for t in complete_rows(label, tf.zeros([2, 1]))[:2]]
    [[[1.0]], [[0.0]]]
    """
    if not label.dtype.is_floating:
        return label, predicted, weight
    complete = ~tf.reduce_any(tf.math.is_nan(label), list(range(1, len(label.shape))))
    label, predicted = (tf.boolean_mask(t, complete) for t in (label, predicted))
    return label, predicted, None if weight is None else tf.boolean_mask(weight, complete)
