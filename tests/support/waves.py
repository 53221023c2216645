"""A function of three inputs in units of their own, for tests of fit_surrogate."""

import numpy as np

RANDOM = np.random.default_rng(0)
LOW, HIGH = np.array([0.0, 10.0, -1.0]), np.array([1.0, 30.0, 1.0])
X, TEST = RANDOM.uniform(LOW, HIGH, [30, 3]), RANDOM.uniform(LOW, HIGH, [50, 3])


def waves(x):
    """Two outputs of three inputs in units of their own, with their gradients."""
    a, b, c = x[:, 0], x[:, 1] / 10, x[:, 2]
    value = np.stack([300 + 40 * np.sin(2 * a) * b, np.exp(c) + a * b], 1)
    gradient = [[80 * np.cos(2 * a) * b, 4 * np.sin(2 * a), 0 * a], [b, a / 10, np.exp(c)]]
    return value, np.moveaxis(np.array(gradient), -1, 0)
