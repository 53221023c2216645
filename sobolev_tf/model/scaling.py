"""z-scores of points and values and, by the chain rule, of derivatives.

With z = (x - μx) / σx and g(z) = (f(x) - μy) / σy, D^j g = σx × ... × σx · D^j f / σy. Training
happens between z and g; everything that a user sees is x and f. To *scale* is to go from the
user's units to z-scores, to *unscale* is to go back.
"""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from sobolev_tf import jets
from sobolev_tf.keras_support.shapes import batch_shape, shown_shape, with_axes

_SHARE = 1e-3  # of a deviation by which a rounded mean may be off


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Scaling(keras.layers.Layer):
    """Means and deviations [*in] of the points and [*out] of the values; initially the identity.

    It is always applied; what it does depends only on its weights.

    Example:

    >>> scaling = Scaling(); scaling.build(((1,), (1,)))
    >>> scaling.set(mean=[1.0], deviation=[2.0], value_mean=[0.0], value_deviation=[4.0])
    >>> float(scaling.scale_x(tf.constant([[5.0]]))[0, 0])
    2.0
    >>> float(scaling.scale_derivative(tf.constant([[[1.0]]]), 1)[0, 0, 0])  # σx / σy
    0.5
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(autocast=False, trainable=False, **kwargs)

    def build(self, shapes: tuple, dtype: str | None = None) -> None:
        """Make the variables for points [B,*in] and values [B,*out]; shapes is (in, out)."""
        points, values = shapes

        def variable(shape, start, name):
            return self.add_weight(shape, start, dtype, trainable=False, name=name)

        self.mean = variable(points, "zeros", "mean")
        self.deviation = variable(points, "ones", "deviation")
        self.value_mean = variable(values, "zeros", "value_mean")
        self.value_deviation = variable(values, "ones", "value_deviation")

    def set(
        self,
        mean: ArrayLike,
        deviation: ArrayLike,
        value_mean: ArrayLike,
        value_deviation: ArrayLike,
    ) -> None:
        """Assign μx and σx [*in], μy and σy [*out]."""
        mean, value_mean = _short(mean, deviation), _short(value_mean, value_deviation)
        deviation, value_deviation = (_short(d, d) for d in (deviation, value_deviation))
        numbers = (mean, deviation, value_mean, value_deviation)
        for variable, number in zip(self.weights, numbers, strict=True):
            variable.assign(np.reshape(number, variable.shape))

    def scale_x(self, x: tf.Tensor) -> tf.Tensor:
        """Scale points x [..., *in] to z; integers become floating numbers.

        Raises:
          ValueError: x does not end in *in, since it would broadcast.
        """
        x = tf.convert_to_tensor(x)
        dims = self.mean.shape
        if x.shape.rank is not None and not (
            x.shape.rank > len(dims)
            and x.shape[x.shape.rank - len(dims) :].is_compatible_with(dims)
        ):
            raise ValueError(
                f"x has shape {shown_shape(x.shape)}, expected {batch_shape(dims)} for this net."
            )
        if x.shape.rank is not None:  # a size may be known at run time only
            x = with_axes(x, [None] * (x.shape.rank - len(dims)), dims, name="x")
        x = x if x.dtype.is_floating else tf.cast(x, self.mean.dtype)
        return (x - _like(x, self.mean)) / _like(x, self.deviation)

    def unscale_x(self, z: tf.Tensor) -> tf.Tensor:
        """Unscale z [..., *in] to points x."""
        return z * _like(z, self.deviation) + _like(z, self.mean)

    def scale_directions(self, v: tf.Tensor) -> tf.Tensor:
        """Scale directions at x [B,P,*in] to directions at z."""
        return v / _like(v, self.deviation)

    def unscale_directions(self, v: tf.Tensor) -> tf.Tensor:
        """Unscale directions at z [B,P,*in] to directions at x."""
        return v * _like(v, self.deviation)

    def scale_y(self, y: tf.Tensor) -> tf.Tensor:
        """Scale values f [..., *out] to g."""
        return (y - _like(y, self.value_mean)) / _like(y, self.value_deviation)

    def unscale_y(self, y: tf.Tensor) -> tf.Tensor:
        """Unscale values g [..., *out] to f; half precision cannot hold these numbers: float32."""
        y = jets.at_least_float32(y)
        return y * _like(y, self.value_deviation) + _like(y, self.value_mean)

    def scale_jvp(self, t: tf.Tensor) -> tf.Tensor:
        """Scale differences of values [..., *out], such as Df[v] along directions at x."""
        return t / _like(t, self.value_deviation)

    def unscale_jvp(self, t: tf.Tensor) -> tf.Tensor:
        """Unscale differences of values [..., *out], such as Dg[v] along directions at z."""
        return t * _like(t, self.value_deviation)

    def scale_output_directions(self, u: tf.Tensor) -> tf.Tensor:
        """Scale u [..., *out] to u' such that <g, u'> is <f, u> / mean σy, up to a constant."""
        deviation = _like(u, self.value_deviation)
        return u * deviation / tf.reduce_mean(deviation)

    def scale_vjp(self, t: tf.Tensor) -> tf.Tensor:
        """Scale the gradient of <f, u> [..., *in] to that of <g, u'>."""
        return self.unscale_directions(t) / tf.reduce_mean(_like(t, self.value_deviation))

    def unscale_vjp(self, t: tf.Tensor) -> tf.Tensor:
        """Unscale the gradient of <g, u'> [..., *in] to that of <f, u>."""
        return self.scale_directions(t) * tf.reduce_mean(_like(t, self.value_deviation))

    def scale_derivative(self, d: tf.Tensor, j: int) -> tf.Tensor:
        """Scale D^j f [B,*out,*in × j] to D^j g."""
        return d * self._chain(d, j)

    def unscale_derivative(self, d: tf.Tensor, j: int) -> tf.Tensor:
        """Unscale D^j g [B,*out,*in × j] to D^j f."""
        return d / self._chain(d, j)

    def _chain(self, d, j):
        """σx × ... × σx / σy, [*out,*in × j]."""
        points, values = _like(d, self.deviation), _like(d, self.value_deviation)
        inner, outer = len(points.shape), len(values.shape)
        chain = tf.reshape(1 / values, [*values.shape, *[1] * (inner * j)])
        for i in range(j):
            before, after = [1] * (outer + inner * i), [1] * (inner * (j - 1 - i))
            chain *= tf.reshape(points, [*before, *points.shape, *after])
        return chain


class UnscaledFunction:
    """A net g in z-scores as the function f in the user's units, with its derivatives.

    They are taken in z-scores, and of unit size: half precision cannot hold numbers in other units.

    Args:
      fn: g, from z [B,*in] to [B,*out].
      scaling: the `Scaling` between.
    """

    def __init__(self, fn, scaling: Scaling) -> None:
        self.fn, self.scaling = fn, scaling

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Compute f(x) [B,*out]."""
        return self.scaling.unscale_y(self.fn(self.scaling.scale_x(x)))

    def jet(self, x: tf.Tensor, order: int) -> jets.Jet:
        """Compute f(x) and D^j f(x) [B,*out,*in × j], j = 1..order."""
        value, derivatives = jets.jet(self.fn, self.scaling.scale_x(x), order)
        unscaled = (
            self.scaling.unscale_derivative(jets.at_least_float32(d), j)
            for j, d in enumerate(derivatives, 1)
        )
        return jets.Jet(self.scaling.unscale_y(value), tuple(unscaled))

    def jvp(self, x: tf.Tensor, v: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute f(x) and Df(x)[v], both [B,*out], for v [B,*in]."""
        value, tangent = jets.jvp(
            self.fn, self.scaling.scale_x(x), self.scaling.scale_directions(v)
        )
        tangent = self.scaling.unscale_jvp(jets.at_least_float32(tangent))
        return self.scaling.unscale_y(value), tangent

    def vjp(self, x: tf.Tensor, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute f(x) [B,*out] and the gradient of <f(x), u> [B,*in], for u [B,*out]."""
        u = self.scaling.unscale_jvp(u)
        axes = list(range(1, u.shape.rank))
        size = tf.reduce_max(tf.abs(u), axes, keepdims=True)
        value, gradient = jets.vjp(
            lambda z: jets.at_least_float32(self.fn(z)),
            self.scaling.scale_x(x),
            tf.math.divide_no_nan(u, size),
        )
        size = tf.cast(size, gradient.dtype)  # layers may compute in float64 behind a float32 x
        size = tf.reshape(size, [-1, *[1] * (gradient.shape.rank - 1)])
        return self.scaling.unscale_y(value), self.scaling.scale_directions(gradient) * size


def _short(numbers, deviation):
    """Numbers in float32, but where that moves them by more than a share of the deviation."""
    numbers, deviation = np.asarray(numbers, "float64"), np.asarray(deviation, "float64")
    with np.errstate(over="ignore"):
        short = numbers.astype("float32").astype("float64")
    return np.where(np.abs(short - numbers) <= _SHARE * deviation, short, numbers)


def _like(t, variable):
    return tf.cast(variable, t.dtype)
