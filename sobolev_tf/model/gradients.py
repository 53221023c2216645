"""Gradients of weights, some of which a loss may not depend on."""

import tensorflow as tf


def connect(
    gradients: list[tf.Tensor | None], variables: list[tf.Variable]
) -> list[tuple[tf.Tensor, tf.Variable]]:
    """Pair gradients with their variables, None as zero.

    The last bias has no part in derivatives: without value labels its gradient is None.

    Raises:
      ValueError: where every gradient is None.

    Example:

    >>> w, b = tf.Variable([2.0]), tf.Variable([1.0])
    >>> [float(gradient[0]) for gradient, _ in connect([tf.constant([3.0]), None], [w, b])]
    [3.0, 0.0]
    """
    if all(gradient is None for gradient in gradients):
        raise ValueError("the loss does not depend on any trainable weight of the net.")
    return [
        (tf.zeros_like(variable) if gradient is None else gradient, variable)
        for gradient, variable in zip(gradients, variables, strict=True)
    ]
