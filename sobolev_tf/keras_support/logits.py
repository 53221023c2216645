"""Logits that are taken for probabilities, and the other way round: what the last layer tells."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import warn

_OF_PROBABILITIES = (
    "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy",
)  # fmt: skip
_ROUNDING = 1e-3  # of a sum of probabilities, in half precision too


def last_activation(net: Any) -> str | None:
    """Return the name of a net's last activation; None if its last layer does not tell.

    Example:

    >>> last_activation(keras.Sequential([keras.Input([2]), keras.layers.Dense(3, "softmax")]))
    'softmax'
    """
    return _name(_last_operation(net))


def activation_layer(net: keras.Model) -> keras.layers.Layer | None:
    """Return a new layer with a net's last activation; None if that is linear or not known.

    Example:

    >>> last = keras.layers.Softmax(axis=1)
    >>> net = keras.Sequential([keras.Input([2]), keras.layers.Dense(3), last])
    >>> activation_layer(net).axis
    1
    """
    last = _last_operation(net)
    if _name(last) in (None, "linear", "glu"):  # a gated linear unit halves its axis
        return None
    if (function := getattr(last, "activation", None)) is not None:
        own = isinstance(last, keras.layers.Activation)
        return keras.layers.Activation(function, dtype=last.dtype_policy if own else None)
    copy = type(last).from_config(last.get_config())
    if isinstance(copy, keras.layers.Layer):
        return copy
    inputs = keras.Input(net.output_shape[1:])
    return keras.Model(inputs, copy(inputs))


def _last_operation(net):
    """The layer or operation whose activation is the net's last one; None if it is not known."""
    outputs = getattr(net, "outputs", None)
    if not isinstance(net, keras.Model) or not outputs or len(outputs) != 1:
        return None
    return _operation_of(outputs[0])


def _operation_of(tensor):
    operation, node, index = tensor._keras_history
    while isinstance(operation, keras.layers.Wrapper):
        operation = operation.layer
    if isinstance(operation, keras.Model):
        outputs = getattr(operation, "outputs", None)
        return _operation_of(outputs[index]) if outputs else None
    if isinstance(operation, keras.layers.Activation) and _name(operation) == "linear":
        # Behind a half-precision net, this is Keras's way to give outputs in float32.
        below = _operation_of(operation._inbound_nodes[node].input_tensors[0])
        return below if _name(below) else operation
    return operation


def _name(operation):
    """The name of an operation's activation as in `keras.activations`; None if it has none."""
    activation = getattr(operation, "activation", None)
    if name := getattr(activation, "__name__", None):
        return name
    kind = type(operation if activation is None else activation).__name__.lower()
    names = {name.replace("_", ""): name for name in dir(keras.activations)}
    return names.get(kind)


def warn_about_logits(caller: str, net: Any, loss: keras.losses.Loss | Callable | None) -> None:
    """Warn if a cross-entropy takes logits for probabilities, or probabilities for logits.

    Args:
      caller: the method that the warning names.
      net: a Keras model.
      loss: loss of its outputs, or None.

    Example:

    >>> import warnings
    >>> net = keras.Sequential([keras.Input([2]), keras.layers.Dense(3, "softmax")])
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_about_logits("fit", net, keras.losses.CategoricalCrossentropy(from_logits=True))
    >>> str(caught[0].message)[:56]
    'fit: the net ends in softmax, and the loss, with from_lo'
    """
    from_logits = getattr(loss, "from_logits", None)
    if getattr(loss, "__name__", None) in _OF_PROBABILITIES:
        from_logits = False
    last = last_activation(net)
    if from_logits is True and last in ("softmax", "sigmoid"):
        warn.at_users_line(
            f"{caller}: the net ends in {last}, and the loss, with from_logits=True, takes it once "
            "more: leave the activation out, or from_logits."
        )
    if from_logits is False and last == "linear":
        warn.at_users_line(
            f"{caller}: the net ends in a linear layer, and the loss expects probabilities: give "
            "the loss from_logits=True, or the layer a softmax."
        )


def warn_of_probabilities(caller: str, numbers: np.ndarray) -> None:
    """Warn of stored logits [B,A] that are probabilities: every row sums to 1, none is negative.

    Args:
      caller: the method that the warning names.
      numbers: the logits.

    Example:

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_of_probabilities("fit", np.array([[0.25, 0.75], [0.5, 0.5]]))
    >>> str(caught[0].message)[:48]
    'fit: every row of the logits sums to 1, as proba'
    """
    if numbers.ndim != 2 or numbers.shape[1] < 2 or not len(numbers):
        return
    if numbers.min() >= 0 and np.all(np.abs(numbers.sum(1, dtype="float64") - 1) < _ROUNDING):
        warn.at_users_line(
            f"{caller}: every row of the logits sums to 1, as probabilities do: the policy would "
            "be their softmax. Pass logits, or the logarithm of probabilities."
        )


def are_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Tell whether `warn_of_probabilities` would warn of logits [B,A], in TensorFlow operations.

    >>> bool(are_probabilities(tf.constant([[0.5, 0.5]]))), bool(are_probabilities(tf.ones([1, 2])))
    (True, False)
    """
    sums = tf.reduce_sum(tf.cast(logits, tf.float64), -1)
    return tf.reduce_all(logits >= 0) & tf.reduce_all(tf.abs(sums - 1) < _ROUNDING)
