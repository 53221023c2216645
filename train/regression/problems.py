"""Engineering functions of 6 to 10 inputs, as in the package SMT (Bouhlel et al., 2019).

Written from their published formulas (borehole and wing: Forrester, Sobester and Keane, 2008; robot
arm: An and Owen, 2001; cantilever beam: Cheng et al., 2015), here on tensors: gradients come from
autodiff.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

import sobolev_tf as st


@dataclasses.dataclass(frozen=True)
class Problem:
    """A function f(x) of points [B,D] to [B], on a box."""

    name: str
    f: Callable[[tf.Tensor], tf.Tensor]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def inputs(self) -> int:
        """D."""
        return len(self.low)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Compute values [B,1] at points [B,D]."""
        return self.f(x)[:, None]

    def points(self, count: int, seed: tuple[int, ...]) -> st.targets.Table:
        """Draw a Latin hypercube [B,D], with values [B,1] and gradients [B,1,D]."""
        random = np.random.default_rng(seed)
        cells = np.stack([random.permutation(count) for _ in self.low], 1)
        share = (cells + random.uniform(size=cells.shape)) / count
        x = np.array(self.low) + (np.array(self.high) - np.array(self.low)) * share
        return st.targets.Table(x, *st.targets.tabulate(self, x, batch_size=len(x)))


def _water_flow(x):
    radius, influence, upper, high, lower, low, length, conductivity = tf.unstack(x, axis=1)
    ratio = tf.math.log(influence / radius)
    leak = 2 * length * upper / (ratio * radius**2 * conductivity)
    return 2 * math.pi * upper * (high - low) / (ratio * (1 + leak + upper / lower))


def _wing_weight(x):
    area, fuel, aspect, sweep, pressure, taper, thickness, factor, gross, paint = tf.unstack(
        x, axis=1
    )
    cosine = tf.cos(sweep * math.pi / 180)
    structure = 0.036 * area**0.758 * fuel**0.0035 * (aspect / cosine**2) ** 0.6 * pressure**0.006
    return (
        structure * taper**0.04 * (100 * thickness / cosine) ** -0.3 * (factor * gross) ** 0.49
        + area * paint
    )


def _robot_arm(x):
    lengths, angles = x[:, ::2], tf.cumsum(x[:, 1::2], axis=1)
    across = tf.reduce_sum(lengths * tf.cos(angles), 1)
    along = tf.reduce_sum(lengths * tf.sin(angles), 1)
    return tf.sqrt(across**2 + along**2)


def _cantilever_beam(x):
    widths, heights, lengths = x[:, ::3], x[:, 1::3], x[:, 2::3]
    to_tip = tf.cumsum(lengths, axis=1, reverse=True)
    beyond = to_tip - lengths
    load, elasticity = 50e3, 200e9
    bent = 12 / (widths * heights**3) * (to_tip**3 - beyond**3)
    return load / (3 * elasticity) * tf.reduce_sum(bent, 1)


def _tensor_product(x):
    return tf.exp(tf.reduce_sum(x, 1))


def _rosenbrock(x):
    return tf.reduce_sum(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2, 1)


PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem(
            "water_flow",
            _water_flow,
            (0.05, 100, 63070, 990, 63.1, 700, 1120, 9855),
            (0.15, 50000, 115600, 1110, 116, 820, 1680, 12045),
        ),
        Problem(
            "wing_weight",
            _wing_weight,
            (150, 220, 6, -10, 16, 0.5, 0.08, 2.5, 1700, 0.025),
            (200, 300, 10, 10, 45, 1, 0.18, 6, 2500, 0.08),
        ),
        Problem("robot_arm", _robot_arm, (0, 0) * 4, (1, 2 * math.pi) * 4),
        Problem("cantilever_beam", _cantilever_beam, (0.01, 0.3, 0.5) * 3, (0.05, 0.65, 1) * 3),
        Problem("tensor_product", _tensor_product, (-1,) * 6, (1,) * 6),
        Problem("rosenbrock", _rosenbrock, (-2,) * 8, (2,) * 8),
    )
}
