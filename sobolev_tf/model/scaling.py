"""z-scores of points and values, and by the chain rule of every derivative between them.

With z = (x - μx) / σx and g(z) = (f(x) - μy) / σy, D^j g = σx × ... × σx · D^j f / σy. Training
happens between z and g; everything that a user sees is x and f.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import contractions, jets


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Scaling(keras.layers.Layer):
    """Means and deviations [*in] of the points and [*out] of the values; the identity at first.

    It is always applied: what it does is in its weights alone, however they got there.

    >>> scaling = Scaling(); scaling.build(((1,), (1,)))
    >>> scaling.set(mean=[1.0], deviation=[2.0], value_mean=[0.0], value_deviation=[4.0])
    >>> float(scaling.points(tf.constant([[5.0]]))[0, 0])
    2.0
    >>> float(scaling.derivative(tf.constant([[[1.0]]]), 1)[0, 0, 0])  # σx / σy
    0.5
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, trainable=False, **kwargs)

    def build(self, shapes):
        points, values = shapes
        self.mean = self.add_weight(points, "zeros", trainable=False, name="mean")
        self.deviation = self.add_weight(points, "ones", trainable=False, name="deviation")
        self.value_mean = self.add_weight(values, "zeros", trainable=False, name="value_mean")
        self.value_deviation = self.add_weight(
            values, "ones", trainable=False, name="value_deviation"
        )

    def set(self, mean, deviation, value_mean, value_deviation):
        for variable, number in zip(
            self.weights, (mean, deviation, value_mean, value_deviation), strict=True
        ):
            variable.assign(np.reshape(number, variable.shape))

    def points(self, x):
        """z of x [..., *in]; whole numbers become floating ones.

        Raises ValueError where x does not end in *in: it would broadcast.
        """
        x = tf.convert_to_tensor(x)
        dims = self.mean.shape
        if x.shape.rank is not None and not (
            x.shape.rank > len(dims)
            and x.shape[x.shape.rank - len(dims) :].is_compatible_with(dims)
        ):
            raise ValueError(f"x has shape {list(x.shape)}, expected {['B', *dims]} for this net.")
        x = x if x.dtype.is_floating else tf.cast(x, self.mean.dtype)
        return (x - self._like(x, self.mean)) / self._like(x, self.deviation)

    def raw_points(self, z):
        return z * self._like(z, self.deviation) + self._like(z, self.mean)

    def directions(self, v):
        """A direction at x [B,P,*in] as one at z; `raw_directions` goes back."""
        return v / self._like(v, self.deviation)

    def raw_directions(self, v):
        return v * self._like(v, self.deviation)

    def values(self, y):
        """g of f [..., *out]."""
        return (y - self._like(y, self.value_mean)) / self._like(y, self.value_deviation)

    def raw_values(self, y):
        """f of g; half precision, which has no room for other units, becomes float32."""
        y = jets.at_least_float32(y)
        return y * self._like(y, self.value_deviation) + self._like(y, self.value_mean)

    def raw_per_value(self, t):
        """`per_value` back."""
        return t * self._like(t, self.value_deviation)

    def per_value(self, t):
        """t [..., *out], which has no mean, in units of the values' deviation."""
        return t / self._like(t, self.value_deviation)

    def output_directions(self, u):
        """u [..., *out] for g such that <g, u'> is <f, u> in units of the mean deviation."""
        deviation = self._like(u, self.value_deviation)
        return u * deviation / tf.reduce_mean(deviation)

    def vjp(self, t):
        """The gradient of <f, u> [..., *in] as that of <g, u'>."""
        return self.raw_directions(t) / tf.reduce_mean(self._like(t, self.value_deviation))

    def raw_vjp(self, t):
        """`vjp` back."""
        return self.directions(t) * tf.reduce_mean(self._like(t, self.value_deviation))

    def derivative(self, d, j: int):
        """D^j f [B,*out,*in × j] as D^j g."""
        return d * self._chain(d, j)

    def raw_derivative(self, d, j: int):
        return d / self._chain(d, j)

    def _chain(self, d, j):
        """σx × ... × σx / σy, [*out,*in × j]."""
        points, values = self._like(d, self.deviation), self._like(d, self.value_deviation)
        inner, outer = len(points.shape), len(values.shape)
        chain = tf.reshape(1 / values, [*values.shape, *[1] * (inner * j)])
        for i in range(j):
            ones = [1] * (outer + inner * i), [1] * (inner * (j - 1 - i))
            chain *= tf.reshape(points, [*ones[0], *points.shape, *ones[1]])
        return chain

    def _like(self, t, variable):
        return tf.cast(variable, t.dtype)


class Raw:
    """A net g between z-scores as the function f in raw units, and its derivatives.

    They are taken between z-scores, and of unit size: half precision has no room for other units.
    """

    def __init__(self, fn, scaling):
        self.fn, self.scaling = fn, scaling

    def __call__(self, x):
        return self.scaling.raw_values(self.fn(self.scaling.points(x)))

    def jet(self, x, order: int) -> jets.Jet:
        value, derivatives = jets.jet(self.fn, self.scaling.points(x), order)
        raw = (
            self.scaling.raw_derivative(jets.at_least_float32(d), j)
            for j, d in enumerate(derivatives, 1)
        )
        return jets.Jet(self.scaling.raw_values(value), tuple(raw))

    def jvp(self, x, v):
        value, tangent = jets.jvp(self.fn, self.scaling.points(x), self.scaling.directions(v))
        return self.scaling.raw_values(value), self.scaling.raw_per_value(
            jets.at_least_float32(tangent)
        )

    def vjp(self, x, u):
        u = self.scaling.raw_per_value(u)
        axes = list(range(1, u.shape.rank))
        size = tf.reduce_max(tf.abs(u), axes, keepdims=True)
        value, gradient = jets.vjp(
            lambda z: jets.at_least_float32(self.fn(z)),
            self.scaling.points(x),
            tf.math.divide_no_nan(u, size),
        )
        size = tf.reshape(size, [-1, *[1] * (gradient.shape.rank - 1)])
        return self.scaling.raw_values(value), self.scaling.directions(gradient) * size


class Moments:
    """Mean and deviation of columns over batches of any number, NaN left out, in float64.

    Chan, Golub and LeVeque's update, which does not cancel. A column without spread has
    deviation 1.

    >>> moments = Moments()
    >>> for batch in ([[1.0], [2.0]], [[3.0], [np.nan]]):
    ...     moments.add(np.array(batch))
    >>> moments.mean.tolist(), moments.deviation.round(4).tolist()
    ([2.0], [0.8165])
    """

    def __init__(self):
        self.count = self.mean = self.square = 0.0

    def add(self, batch):
        batch = np.asarray(batch, "float64")
        here = ~np.isnan(batch)
        count = here.sum(0)
        mean = np.where(here, batch, 0).sum(0) / np.maximum(count, 1)
        square = np.where(here, (batch - mean) ** 2, 0).sum(0)
        total = self.count + count
        share = count / np.maximum(total, 1)
        difference = mean - self.mean
        self.square = self.square + square + difference**2 * self.count * share
        self.mean = self.mean + difference * share
        self.count = total

    @property
    def deviation(self):
        deviation = np.sqrt(self.square / np.maximum(self.count, 1))
        # Rounding leaves a trace of spread in a constant column.
        return np.where(deviation > 1e-7 * np.abs(self.mean), deviation, 1.0)

    @property
    def rms(self):
        """Root of the mean square; 1 where that is 0."""
        square = self.square / np.maximum(self.count, 1) + np.square(self.mean)
        return np.where(square > 0, np.sqrt(square), 1.0)


class Statistics:
    """What `adapt` learns from batches of points [B,*in] and labels by name of order.

    classes: whether whole numbers among the values are class numbers, whatever their shape;
        those of another shape than the net's outputs always are.
    """

    def __init__(self, outputs: tuple, classes: bool = False):
        self.outputs = outputs
        self._any_classes = classes
        self.rows = 0
        self.classes = False  # whether the values are class numbers
        self.points, self.terms = Moments(), {}

    def add(self, points, labels):
        for name, entries in {"x": points, **labels}.items():
            if entries.dtype.kind == "f" and np.isinf(entries).any():
                row = int(np.argmax(np.isinf(entries).reshape(len(entries), -1).any(1)))
                raise ValueError(f"adapt: {name} is infinite, first in row {self.rows + row}.")
        self.rows += len(points)
        self.points.add(points)
        dims = points.shape[1:]
        for name, label in labels.items():
            j = 0 if name == "value" else int(name[1:])
            whole = label.dtype.kind != "f" and j == 0 and self.outputs not in ((), (1,))
            if whole and (self._any_classes or label.shape[1:] != self.outputs):
                self.classes = True
                continue
            label = label.reshape(-1, *self.outputs, *dims * j)
            self.terms.setdefault(name, Moments()).add(label)

    def scales(self):
        """Mean and deviation of the points and of the values."""
        mean, deviation = self.points.mean, self.points.deviation
        if deviation.ndim > 1:  # one for all entries: distances stay distances, images images
            spread = np.sqrt(
                np.mean(self.points.square / np.maximum(self.points.count, 1) + mean**2)
                - np.mean(mean) ** 2
            )
            mean = np.full_like(mean, np.mean(mean))
            deviation = np.full_like(deviation, spread if spread > 1e-7 * np.abs(mean).max() else 1)
        if "value" in self.terms:
            values = self.terms["value"].mean, self.terms["value"].deviation
        elif "d1" in self.terms and not self.classes:
            slopes = (self.terms["d1"].rms * deviation) ** 2
            inner = tuple(range(len(self.outputs), slopes.ndim))
            values = np.zeros(self.outputs), np.sqrt(slopes.sum(inner))
        else:
            values = np.zeros(self.outputs), np.ones(self.outputs)
        return mean, deviation, *values

    def label_sizes(self) -> dict:
        """Root mean square of each component of the labels, in z-scores, by name."""
        scaling = Scaling()
        mean, *_ = scales = self.scales()
        scaling.build((mean.shape, self.outputs))
        scaling.set(*scales)
        return {
            name: scaling.derivative(tf.constant(moments.rms), int(name[1:])).numpy()
            for name, moments in self.terms.items()
            if name != "value"
        }


class Scaled:
    """A live target f as g: what the net is held against after `adapt`.

    A target that knows its own jets (a black box) is asked in raw units and converted.
    """

    def __init__(self, target, scaling):
        self.target, self.scaling = target, scaling
        if hasattr(target, "jet"):
            self.jet, self.directional_jet = self._jet, self._directional_jet
            self.projected_jet, self.partial_jet = self._projected_jet, self._partial_jet

    def __call__(self, z):
        return self.scaling.values(self.target(self.scaling.raw_points(z)))

    def _jet(self, z, order):
        answer = self._checked(self.target.jet(self.scaling.raw_points(z), order), z)
        value = self._value(answer.value, z)
        derivatives = (
            self.scaling.derivative(jets.reshape_derivative(d, value.shape[1:], z, j), j)
            for j, d in enumerate(answer.derivatives, 1)
        )
        return jets.Jet(value, tuple(derivatives))

    def _checked(self, answer, z):
        """The answer, or an error where the black box has other outputs than the net."""
        outputs = self.scaling.value_mean.shape
        size = tf.shape(z)[0] * math.prod(outputs)
        message = f"target: the black box answers other shapes than the net, {['B', *outputs]}"
        check = tf.debugging.assert_equal(tf.size(answer.value), size, message)
        with tf.control_dependencies([check] if check is not None else []):
            return jets.Jet(tf.identity(answer.value), tuple(map(tf.identity, answer.derivatives)))

    def _value(self, value, z):
        return self.scaling.values(
            jets.reshape_derivative(value, self.scaling.value_mean.shape, z, 0)
        )

    def _directional_jet(self, z, directions):
        raw = [self.scaling.raw_directions(v) for v in directions]
        answer = self._checked(self.target.directional_jet(self.scaling.raw_points(z), raw), z)
        value = self._value(answer.value, z)
        shape = [-1, directions[0].shape[1], *value.shape[1:]] if directions else None
        derivatives = (self.scaling.per_value(tf.reshape(d, shape)) for d in answer.derivatives)
        return jets.Jet(value, tuple(derivatives))

    def _projected_jet(self, z, order, directions):
        answer = self._jet(z, order)
        v = directions(answer.value)
        contracted = (contractions.contract_outputs(d, v) for d in answer.derivatives)
        return jets.Jet(answer.value, tuple(contracted))

    def _partial_jet(self, z, v, order):
        raw = self.scaling.raw_directions(v)
        answer = self._checked(self.target.partial_jet(self.scaling.raw_points(z), raw, order), z)
        value, inputs = self._value(answer.value, z), list(z.shape[1:])
        # D^j[v, ...] has one axis of inputs less than D^j, and one of projections more.
        derivatives = (
            self.scaling.derivative(
                tf.reshape(d, [-1, v.shape[1], *value.shape[1:], *inputs * j]), j
            )
            for j, d in enumerate(answer.derivatives)
        )
        return jets.Jet(value, tuple(derivatives))
