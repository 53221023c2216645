"""The seven functions of section 4.1 with their domains, and labelled points of any function.

Gradients come from autodiff. Bukin's has a ridge, y = 0.01x², on which its gradient is unbounded:
there it is taken as 0, the middle of its two sides. No random point falls on the ridge, but many
come near, and the mean square of the gradient grows without limit with the number of points.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.lib.run.cli import UsageError
from train.regression import expression


@dataclasses.dataclass(frozen=True)
class Function:
    """A function f(x, y) of tensors, on a domain (x from, x to, y from, y to)."""

    name: str
    f: Callable
    domain: tuple

    def __call__(self, x):
        """[B,2] -> [B,1]."""
        return self.f(x[:, :1], x[:, 1:])


def ackley(x, y):
    far = tf.exp(-0.2 * st.losses.safe_sqrt(0.5 * (x**2 + y**2)))
    return -20 * far - tf.exp(0.5 * (_wave(x) + _wave(y))) + math.e + 20


def beale(x, y):
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def booth(x, y):
    return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2


def bukin(x, y):
    return 100 * st.losses.safe_sqrt(tf.abs(y - 0.01 * x**2)) + 0.01 * tf.abs(x + 10)


def mccormick(x, y):
    return tf.sin(x + y) + (x - y) ** 2 - 1.5 * x + 2.5 * y + 1


def rosenbrock(x, y):
    return 100 * (y - x**2) ** 2 + (x - 1) ** 2


def styblinski_tang(x, y):
    return 0.5 * (x**4 - 16 * x**2 + 5 * x + y**4 - 16 * y**2 + 5 * y)


SEVEN = {
    f.__name__: Function(f.__name__, f, domain)
    for f, domain in (
        (ackley, (-5, 5, -5, 5)),
        (beale, (-4.5, 4.5, -4.5, 4.5)),
        (booth, (-10, 10, -10, 10)),
        (bukin, (-15, -5, -3, 3)),
        (mccormick, (-1.5, 4, -3, 4)),
        (rosenbrock, (-2, 2, -2, 2)),
        (styblinski_tang, (-5, 5, -5, 5)),
    )
}


def resolve(name, domain=None):
    """One of the seven by its name, or an expression in x and y on `domain`.

    Raises UsageError for what is neither, a domain turned round, or values that are not finite.
    """
    if name in SEVEN:
        return SEVEN[name]
    if name.isidentifier() and name not in ("x", "y"):
        raise UsageError(
            f"--function={name}: expected one of {', '.join(SEVEN)}, or an expression in x and y"
        )
    function = Function(name, expression.parse(name), checked_domain(name, domain))
    x = grid(function.domain, 41)
    bad = ~np.isfinite(np.ravel(function(tf.constant(x))))
    if bad.any():
        x, y = x[bad.argmax()]
        raise UsageError(
            f"--function={name} is not finite at x={x:g}, y={y:g}: choose another --domain"
        )
    return function


def checked_domain(name, domain):
    """(x from, x to, y from, y to) as floats. Raises UsageError for anything else."""
    given = ",".join(domain or [])
    try:
        numbers = tuple(float(number) for number in domain or ())
    except ValueError:
        numbers = ()
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise UsageError(
            f"--domain={given}: expected four numbers, x from, x to, y from, y to, for "
            f"--function={name}: --domain=-1,1,-1,1"
        )
    if numbers[0] >= numbers[1] or numbers[2] >= numbers[3]:
        raise UsageError(f"--domain={given}: expected x from < x to, and y from < y to")
    return numbers


def grid(domain, side):
    """[side * side,2]: evenly spaced points, y along the rows, edges included."""
    x, y = np.linspace(*domain[:2], side), np.linspace(*domain[2:], side)
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def table(function, points, *seed):
    """Points [B,2] uniform in the domain with values [B,1] and gradients [B,1,2], in float64.

    Raises UsageError where one of them is not finite.
    """
    low, high = np.array(function.domain, float).reshape(2, 2).T
    x = np.random.default_rng(seed).uniform(low, high, [points, 2])
    labels = st.targets.tabulate(function, x, batch_size=len(x))
    if not all(np.isfinite(each).all() for each in labels):
        raise UsageError(
            f"--function={function.name} has values or slopes that are not finite on its domain"
        )
    return st.targets.Table(x, *labels)


def _wave(x):
    return tf.cos(2 * math.pi * x)
