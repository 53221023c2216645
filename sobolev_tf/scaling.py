"""z-scores of points and values, and by the chain rule of every derivative between them.

With z = (x - μx) / σx and g(z) = (f(x) - μy) / σy, D^j g = σx × ... × σx · D^j f / σy. Training
happens between z and g; everything that a user sees is x and f.
"""

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import jets


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Scaling(keras.layers.Layer):
    """Means and deviations [*in] of the points and [*out] of the values; identity until adapted.

    >>> scaling = Scaling(); scaling.build(((1,), (1,)))
    >>> scaling.set(mean=[1.0], deviation=[2.0], value_mean=[0.0], value_deviation=[4.0])
    >>> float(scaling.points(tf.constant([[5.0]]))[0, 0])
    2.0
    >>> float(scaling.derivative(tf.constant([[[1.0]]]), 1)[0, 0, 0])  # σx / σy
    0.5
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, trainable=False, **kwargs)
        self.adapted = False

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
        self.adapted = True

    def load_own_variables(self, store):
        super().load_own_variables(store)
        identity = zip(self.weights, (0, 1, 0, 1), strict=True)
        self.adapted = any(np.any(variable.numpy() != number) for variable, number in identity)

    def points(self, x):
        """z of x [..., *in]."""
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
        return y * self._like(y, self.value_deviation) + self._like(y, self.value_mean)

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
    """What `adapt` learns from batches of points [B,*in] and labels by name of order."""

    def __init__(self, outputs: tuple):
        self.outputs = outputs
        self.rows = 0
        self.points, self.terms = Moments(), {}

    def add(self, points, labels):
        self.rows += len(points)
        self.points.add(points)
        dims = points.shape[1:]
        for name, label in labels.items():
            j = 0 if name == "value" else int(name[1:])
            if label.dtype.kind != "f" and j == 0:
                continue  # class numbers have no scale
            label = label.reshape(-1, *self.outputs, *dims * j)
            self.terms.setdefault(name, Moments()).add(label)

    def scales(self):
        """Mean and deviation of the points and of the values."""
        deviation = self.points.deviation
        if "value" in self.terms:
            values = self.terms["value"].mean, self.terms["value"].deviation
        elif "d1" in self.terms:
            slopes = (self.terms["d1"].rms * deviation) ** 2
            inner = tuple(range(len(self.outputs), slopes.ndim))
            values = np.zeros(self.outputs), np.sqrt(slopes.sum(inner))
        else:
            values = np.zeros(self.outputs), np.ones(self.outputs)
        return self.points.mean, deviation, *values

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
            self.jet, self.input_jet = self._jet, self._input_jet
            self.output_jet, self.partial_jet = self._output_jet, self._partial_jet

    def __call__(self, z):
        return self.scaling.values(self.target(self.scaling.raw_points(z)))

    def _jet(self, z, order):
        answer = self.target.jet(self.scaling.raw_points(z), order)
        derivatives = (self.scaling.derivative(d, j) for j, d in enumerate(answer.derivatives, 1))
        return jets.Jet(self.scaling.values(answer.value), tuple(derivatives))

    def _input_jet(self, z, directions):
        raw = [self.scaling.raw_directions(v) for v in directions]
        answer = self.target.input_jet(self.scaling.raw_points(z), raw)
        derivatives = (self.scaling.per_value(d) for d in answer.derivatives)
        return jets.Jet(self.scaling.values(answer.value), tuple(derivatives))

    def _output_jet(self, z, order, directions):
        answer = self._jet(z, order)
        v = directions(answer.value)
        for j, d in enumerate(answer.derivatives, 1):  # a black box in a graph has no shape
            d.set_shape([v.shape[0], *v.shape[2:], *list(z.shape[1:]) * j])
        contracted = (jets.contract_outputs(d, v) for d in answer.derivatives)
        return jets.Jet(answer.value, tuple(contracted))

    def _partial_jet(self, z, v, order):
        raw = self.scaling.raw_directions(v)
        answer = self.target.partial_jet(self.scaling.raw_points(z), raw, order)
        # D^j[v, ...] has one axis of inputs less than D^j, and one of projections more.
        derivatives = (self.scaling.derivative(d, j) for j, d in enumerate(answer.derivatives))
        return jets.Jet(self.scaling.values(answer.value), tuple(derivatives))
