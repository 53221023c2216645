"""Functions whose derivatives are known, and tables of their labels."""

import functools

import numpy as np
import tensorflow as tf

from sobolev_tf import jets

MATRIX = np.random.default_rng(5).normal(size=[4, 3])
SCALES = np.array([1e-3, 1.0, 1e4])


def column(*terms):
    return tf.stack(terms, 1)


def styblinski_tang(x):
    return 0.5 * tf.reduce_sum(x**4 - 16 * x**2 + 5 * x, 1, keepdims=True)


def rosenbrock(x):
    return column((1 - x[:, 0]) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2)


def sines(x):
    return column(tf.sin(x[:, 0]) + tf.sin(1.7 * x[:, 1]))


def linear(x):
    return x @ tf.constant(MATRIX, x.dtype)


def five(x):
    a, b, c, d, e = tf.unstack(x, axis=1)
    return column(a * b + tf.sin(c) + 0.5 * d**2 - e + tf.exp(0.3 * a))


def wide(x):
    a, b, c = tf.unstack(x / tf.constant(SCALES, x.dtype), axis=1)
    return column(5 + 1e3 * (tf.sin(a) + a * b + tf.cos(0.8 * c) * b))


def pair(x):
    a, b = tf.unstack(x, axis=1)
    return column(tf.exp(a / 2) * tf.cos(b), a * b**2)


def slopes(x):
    """Straight but for kinks where a coordinate is 0."""
    return tf.reduce_sum(tf.abs(x), 1, keepdims=True) + tf.sin(x[:, :1])


# function: its inputs, and half the width of the box that they are drawn from
FUNCTIONS = {
    styblinski_tang: (2, 5.0),
    rosenbrock: (2, 2.0),
    sines: (2, 3.0),
    linear: (4, 2.0),
    five: (5, 2.0),
    wide: (3, 2 * SCALES),
    pair: (2, 2.0),
}
CURVED = [f for f in FUNCTIONS if f is not linear]


def points(fn, count, seed):
    size, width = FUNCTIONS.get(fn, (2, 2.0))
    return np.random.default_rng(seed).uniform(-1, 1, [count, size]) * width


def labels(fn, x):
    jet = jets.jet(fn, tf.constant(x))
    return jet.value.numpy(), jet.derivatives[0].numpy()


@functools.cache
def table(fn, count, seed):
    x = points(fn, count, seed)
    return x, *labels(fn, x)


def data(fn, count=400, seed=0):
    """x, y and dy of fn, to be changed as one likes."""
    return tuple(a.copy() for a in table(fn, count, seed))


def kinds(check):
    return {f.kind for f in check.findings}
