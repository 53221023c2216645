"""Losses of classes: which labels they take, and which of these count."""

from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import losses
from sobolev_tf.keras_support.shapes import batch_shape, shown_shape

_OF_CLASSES = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalGeneralizedCrossEntropy,
    keras.losses.Circle,
    keras.losses.CTC,
)
_FUNCTIONS_OF_CLASSES = (
    keras.losses.sparse_categorical_crossentropy,
    keras.losses.categorical_generalized_cross_entropy,
    keras.losses.circle,
    keras.losses.ctc,
)
_CROSS_ENTROPIES = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalCrossentropy,
)
_FUNCTIONS_OF_CROSS_ENTROPIES = (
    keras.losses.sparse_categorical_crossentropy,
    keras.losses.categorical_crossentropy,
)


def takes_classes(loss: Any) -> bool:
    """Tell whether a loss takes class numbers, as four of Keras's do.

    >>> takes_classes(losses.resolve("sparse_categorical_crossentropy"))
    True
    >>> takes_classes(keras.losses.CategoricalCrossentropy())
    False
    """
    return isinstance(loss, _OF_CLASSES) or loss in _FUNCTIONS_OF_CLASSES


def is_cross_entropy(loss: Any) -> bool:
    """Tell whether a loss is a cross-entropy of classes, as numbers or one-hot.

    >>> is_cross_entropy(keras.losses.CategoricalCrossentropy())
    True
    >>> is_cross_entropy(keras.losses.BinaryCrossentropy())
    False
    """
    return isinstance(loss, _CROSS_ENTROPIES) or loss in _FUNCTIONS_OF_CROSS_ENTROPIES


def may_take_class_numbers(loss: Any) -> bool:
    """Tell whether a loss of values may take class numbers.

    Four of Keras's losses do, and a function of the user's may; Keras's others, and norms, compare
    numbers.

    Args:
      loss: as `losses.resolve` returns it; None, without a loss, leaves the labels to metrics.

    Example:

    >>> may_take_class_numbers(keras.losses.SparseCategoricalCrossentropy())
    True
    >>> may_take_class_numbers(losses.resolve("mse"))
    False
    """
    if loss is None or takes_classes(loss):
        return True
    return not (isinstance(loss, losses.NORMS) or losses.is_ready_made(loss))


def refuse_broadcast(loss: Any, y: tf.Tensor, output_shape: Any) -> None:
    """Raise ValueError for labels that the loss would spread over several outputs.

    Args:
      loss: as `losses.resolve` returns it; one that may take class numbers passes.
      y: labels [B,...]; those of one output may lack its axis.
      output_shape: [B,*out], the shape of the outputs.

    Example:

    >>> refuse_broadcast(losses.resolve("mse"), tf.zeros([4, 1]), [None, 3])
    Traceback (most recent call last):
    ValueError: y has shape [4, 1], and the network's outputs [B, 3]: mean_squared_error needs one \
label for each output.
    """
    if may_take_class_numbers(loss) or y.shape.rank is None or y.shape.rank > len(output_shape):
        return
    without_axis = y.shape.rank == len(output_shape) - 1 and output_shape[-1] == 1
    if not y.shape.is_compatible_with(output_shape[:-1] if without_axis else output_shape):
        raise ValueError(
            f"y has shape {shown_shape(y.shape)}, and the network's outputs "
            f"{batch_shape(output_shape[1:])}: {losses.name_of(loss)} needs one label for each "
            "output."
        )


def labels_that_count(loss: Any, y: tf.Tensor) -> tf.Tensor | None:
    """Tell which labels count: those that are not the loss's `ignore_class`.

    Args:
      loss: as `losses.resolve` returns it, or a `functools.partial` of a Keras function.
      y: labels [B,...].

    Returns:
      Booleans [B,...]; None if the loss ignores no class.

    Example:

    >>> loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    >>> labels_that_count(loss, tf.constant([2, -1])).numpy().tolist()
    [True, False]
    """
    keywords = getattr(loss, "keywords", {})
    ignored = getattr(loss, "ignore_class", keywords.get("ignore_class"))
    return None if ignored is None else tf.cast(y, tf.int64) != ignored


def over_labels_that_count(mean: tf.Tensor, loss: Any, y: tf.Tensor) -> tf.Tensor:
    """Turn a mean over all labels into one over those that count, as Keras averages.

    `losses.per_example` gives 0 for the others. Sample weights do not change the divisor.

    Args:
      mean: over all labels, or a factor 1/B of it, in any shape.
      loss, y: as for `labels_that_count`.

    Returns:
      The mean divided by the share of labels that count; 0 if none does.

    Example:

    >>> loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    >>> float(over_labels_that_count(tf.constant(1.0), loss, tf.constant([2, -1, -1, -1])))
    4.0
    """
    counts = labels_that_count(loss, y)
    if counts is None:
        return mean
    total, counting = tf.size(counts), tf.math.count_nonzero(counts)
    factor = tf.math.divide_no_nan(tf.cast(total, tf.float64), tf.cast(counting, tf.float64))
    return mean * tf.cast(factor, mean.dtype)
