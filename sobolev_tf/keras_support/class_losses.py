"""Which losses may take class numbers as labels."""

from typing import Any

import keras

from sobolev_tf import losses

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
    if isinstance(loss, _OF_CLASSES) or loss in _FUNCTIONS_OF_CLASSES:
        return True
    return loss is None or not (isinstance(loss, losses.NORMS) or losses.is_ready_made(loss))
