"""Functions outside section 4.1, on unit cubes of one to six dimensions, for choosing methods."""

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class OtherFunction:
    """A function from x [B,D] to [B,1], on [0,1]^D."""

    inputs: int
    f: Callable[[tf.Tensor], tf.Tensor]


def wave(x: tf.Tensor) -> tf.Tensor:
    return tf.sin(6 * x) + x**2 * tf.cos(13 * x)


def franke(x: tf.Tensor) -> tf.Tensor:
    a, b = 9 * x[:, :1], 9 * x[:, 1:]
    hills = 0.75 * tf.exp(-((a - 2) ** 2 + (b - 2) ** 2) / 4)
    hills += 0.75 * tf.exp(-((a + 1) ** 2) / 49 - (b + 1) / 10)
    hills += 0.5 * tf.exp(-((a - 7) ** 2 + (b - 3) ** 2) / 4)
    return hills - 0.2 * tf.exp(-((a - 4) ** 2) - (b - 7) ** 2)


def branin(x: tf.Tensor) -> tf.Tensor:
    a, b = 15 * x[:, :1] - 5, 15 * x[:, 1:]
    bowl = (b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * tf.cos(a) + 10


def hartmann3(x: tf.Tensor) -> tf.Tensor:
    steepness = tf.constant([[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]], x.dtype)
    centers = tf.constant(
        [
            [0.3689, 0.1170, 0.2673],
            [0.4699, 0.4387, 0.7470],
            [0.1091, 0.8732, 0.5547],
            [0.0381, 0.5743, 0.8828],
        ],
        x.dtype,
    )
    depths = tf.constant([1.0, 1.2, 3.0, 3.2], x.dtype)
    squares = tf.reduce_sum(steepness * (x[:, None] - centers) ** 2, -1)
    return -tf.reduce_sum(depths * tf.exp(-squares), -1, keepdims=True)


def friedman(x: tf.Tensor) -> tf.Tensor:
    waves = 10 * tf.sin(math.pi * x[:, :1] * x[:, 1:2])
    return waves + 20 * (x[:, 2:3] - 0.5) ** 2 + 10 * x[:, 3:4] + 5 * x[:, 4:]


def decaying_waves(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.exp(-x) * tf.sin(2 * x + tf.roll(x, 1, 1)), 1, keepdims=True)


OTHERS = {
    "wave": OtherFunction(1, wave),
    "franke": OtherFunction(2, franke),
    "branin": OtherFunction(2, branin),
    "hartmann3": OtherFunction(3, hartmann3),
    "friedman": OtherFunction(5, friedman),
    "decaying_waves": OtherFunction(6, decaying_waves),
}
