"""Gradients of weights, some of which a loss may not depend on."""

from typing import Any

import keras
import tensorflow as tf


def connect(gradients: list[tf.Tensor | None], variables: list[tf.Variable]) -> list[tf.Tensor]:
    """Return the gradients of the variables, zero for None.

    The last bias has no part in derivatives: without value labels its gradient is None.

    Raises:
      ValueError: every gradient is None.

    Example:

    >>> w, b = tf.Variable([2.0]), tf.Variable([1.0])
    >>> [float(gradient[0]) for gradient in connect([tf.constant([3.0]), None], [w, b])]
    [3.0, 0.0]
    """
    if all(gradient is None for gradient in gradients):
        raise ValueError("the loss does not depend on any trainable weight of the net.")
    return [
        tf.zeros_like(variable) if gradient is None else gradient
        for gradient, variable in zip(gradients, variables, strict=True)
    ]


def build_optimizer(optimizer: Any, variables: list) -> None:
    """Make an optimizer's state as its first update would, but outside control dependencies.

    TensorFlow cannot lift the start of a variable out of a function that computes a loss first.
    """
    if not optimizer.built:
        with keras.name_scope(optimizer.name, caller=optimizer):
            optimizer.build(variables)
