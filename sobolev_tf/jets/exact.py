"""TensorFlow functions with right second derivatives, inside functions that are differentiated.

`tf.nn.moments` stops the gradient of the mean inside the variance. This does not change the
variance's first derivative, but all higher ones are silently wrong: the Hessian of a net with
LayerNormalization or GroupNormalization, and the weights' gradient of a loss of derivatives.

`tf.image.resize` is linear. TensorFlow treats the gradient of its bilinear form as a constant, and
cannot differentiate the gradient of other forms. Unpatched, all that differentiates this gradient
is wrong or fails: products with the Jacobian, and the weights' gradient of a loss of derivatives.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

_exact = contextvars.ContextVar("exact", default=False)
_stock_moments, _stock_resize = tf.nn.moments, tf.image.resize


@contextlib.contextmanager
def exact_derivatives() -> Iterator[None]:
    """Make functions that Keras's layers call differentiable to every order.

    They are `tf.nn.moments` and `tf.image.resize`.

    Example:

    >>> def variance(x):
    ...     with exact_derivatives():
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
    """`tf.nn.moments`, with a variance that is differentiated as it is inside the context."""
    if not _exact.get():
        return _stock_moments(x, axes, shift, keepdims, name)
    x = tf.convert_to_tensor(x)
    wide = tf.cast(x, tf.float32) if x.dtype == tf.float16 else x
    mean = tf.reduce_mean(wide, axes, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(wide, mean), axes, keepdims=True)
    if not keepdims:
        mean, variance = tf.squeeze(mean, axes), tf.squeeze(variance, axes)
    return tf.cast(mean, x.dtype), tf.cast(variance, x.dtype)


def _resize(images: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
    """`tf.image.resize`, differentiated as the linear function that it is inside the context."""

    def stock(images):
        return _stock_resize(images, *args, **kwargs)

    if _exact.get():
        images = tf.convert_to_tensor(images)
        if images.dtype.is_floating:
            return _linear(stock, images)
    return stock(images)


def _linear(fn: Callable, x: tf.Tensor) -> tf.Tensor:
    """Return fn(x) of a linear fn, with gradients of every order."""

    @tf.custom_gradient
    def forward(x):
        return fn(x), backward

    @tf.custom_gradient
    def backward(dy):
        at = tf.zeros_like(x)  # anywhere: fn is linear
        with tf.GradientTape() as tape:
            tape.watch(at)
            y = fn(at)
        return tape.gradient(y, at, output_gradients=tf.cast(dy, y.dtype)), forward

    return forward(x)


tf.nn.moments, tf.image.resize = _moments, _resize
