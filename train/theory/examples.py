"""The functions, points and nets on which `train.theory` shows the statements."""

from typing import NamedTuple

import numpy as np

from train.theory.existence import Smooth

SMOOTH = [
    Smooth(
        "sin 3x",
        lambda x: np.sin(3 * x),
        lambda x: 3 * np.cos(3 * x),
        (-2.0, 2.0),
        largest_slope=3.0,
        modulus=lambda e: e / 9,
    ),
    Smooth(  # its slope is continuous, and has no slope at 0
        "x sqrt(abs x)",
        lambda x: x * np.sqrt(np.abs(x)),
        lambda x: 1.5 * np.sqrt(np.abs(x)),
        (-2.0, 2.0),
        largest_slope=1.5 * np.sqrt(2),
        modulus=lambda e: (e / 1.5) ** 2,  # |√|a| - √|b|| <= √|a - b|
    ),
]
EPSILONS = (0.5, 0.1, 0.02)

FIRST_GAUSSIAN = (2.0, 1.0)
MEETING_POINTS = (0.0, 3.0)
NEAR_SECOND_GAUSSIAN = (2.8, 1.6)  # the paper's 2.847, 1.641


class Lines(NamedTuple):
    """Three points with the slopes of one hypothesis of figure 2, left."""

    title: str
    slopes: np.ndarray


THREE_POINTS = np.array([-2.0, 0.0, 2.0]), np.array([0.0, 1.0, 1.0])
TRUE_LINES = Lines("the function", np.array([1.5, -0.5, 1.0]))
OTHER_LINES = [
    Lines("another with these values", np.array([0.0, 1.2, -1.0])),
    Lines("and another", np.array([0.9, -0.8, 0.8])),
]


def contradictory_labels(num_points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x [B,1] with the values of sin x [B] and the slopes of -sin x [B,1]."""
    x = np.linspace(-3, 3, num_points)[:, None]
    return x, np.sin(x[:, 0]), -np.cos(x)


def random_labels(num_points: int, dims: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points of a grid [B,D], so that many share a coordinate, and normal labels."""
    rng = np.random.default_rng((num_points, dims))
    side = int(np.ceil(num_points ** (1 / dims)))
    grid = np.stack(np.meshgrid(*[np.arange(side, dtype=float)] * dims), -1).reshape(-1, dims)
    return grid[:num_points], rng.normal(size=num_points), rng.normal(size=[num_points, dims])


def sigmoid_net(units: int, dims: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return normal weights (kernel [D,N], bias [N], weights [N]) of a net of sigmoids."""
    rng = np.random.default_rng((units, dims))
    return rng.normal(size=[dims, units]), rng.normal(size=units), rng.normal(size=units)
