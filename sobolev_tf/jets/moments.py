"""Variances that can be differentiated twice, inside functions whose derivatives are taken.

`tf.nn.moments` stops the gradient of the mean inside the variance. This does not change the
variance's first derivative, but all higher ones are silently wrong: the Hessian of a net with
LayerNormalization or GroupNormalization, and the weights' gradient of a loss of derivatives.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

_exact = contextvars.ContextVar("exact", default=False)
_stock = tf.nn.moments


@contextlib.contextmanager
def exact_moments() -> Iterator[None]:
    """Make `tf.nn.moments`, which Keras's layers call, differentiable to every order.

    Example:

    >>> def variance(x):
    ...     with exact_moments():
    ...         return tf.nn.moments(x, 1)[1]
    >>> x = tf.Variable([[0.0, 2.0]])
    >>> with tf.GradientTape() as outer:
    ...     with tf.GradientTape() as inner:
    ...         y = variance(x)
    ...     slope = inner.gradient(y, x)
    >>> outer.jacobian(slope, x)[0, :, 0].numpy().tolist()
    [[0.5, -0.5], [-0.5, 0.5]]
    """
    token = _exact.set(True)
    try:
        yield
    finally:
        _exact.reset(token)


def _moments(
    x: Any,
    axes: int | Sequence[int],
    shift: Any = None,
    keepdims: bool = False,
    name: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`tf.nn.moments`, with a variance that is differentiated as it is inside `exact_moments`."""
    if not _exact.get():
        return _stock(x, axes, shift, keepdims, name)
    x = tf.convert_to_tensor(x)
    wide = tf.cast(x, tf.float32) if x.dtype == tf.float16 else x
    mean = tf.reduce_mean(wide, axes, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(wide, mean), axes, keepdims=True)
    if not keepdims:
        mean, variance = tf.squeeze(mean, axes), tf.squeeze(variance, axes)
    return tf.cast(mean, x.dtype), tf.cast(variance, x.dtype)


tf.nn.moments = _moments
