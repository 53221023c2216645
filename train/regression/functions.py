"""The seven functions of section 4.1 with their domains, and labeled points of any function.

Gradients come from autodiff. Bukin's has a ridge, y = 0.01x², on which its gradient is unbounded:
there it is taken as 0, the middle of its two sides. No random point falls on the ridge, but many
come near, and the mean square of the gradient grows without limit with the number of points.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.lib.run.errors import UsageError
from train.regression import expression

# A loss of a million points adds up so many squares: beyond these it overflows.
LARGEST = float(np.sqrt(np.finfo("float64").max / 1e6))
LARGEST_FLOAT32 = float(np.sqrt(np.finfo("float32").max / 1e6))


@dataclasses.dataclass(frozen=True)
class Function:
    """A function f(x, y) of tensors, on a domain (x from, x to, y from, y to)."""

    name: str
    f: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    domain: tuple[float, ...]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Return the values [B,1] at points x [B,2]."""
        return self.f(x[:, :1], x[:, 1:])


def ackley(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    bowl = tf.exp(-0.2 * st.losses.safe_sqrt(0.5 * (x**2 + y**2)))
    return -20 * bowl - tf.exp(0.5 * (_wave(x) + _wave(y))) + math.e + 20


def beale(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def booth(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2


def bukin(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return 100 * st.losses.safe_sqrt(tf.abs(y - 0.01 * x**2)) + 0.01 * tf.abs(x + 10)


def mccormick(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.sin(x + y) + (x - y) ** 2 - 1.5 * x + 2.5 * y + 1


def rosenbrock(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return 100 * (y - x**2) ** 2 + (x - 1) ** 2


def styblinski_tang(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
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


def resolve(name: str, domain: Sequence[str] | None = None) -> Function:
    """Return one of the seven by its name, or an expression in x and y on `domain`.

    Raises:
      UsageError: for a name that is neither, a domain that is turned round, or values that are
        not finite.
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


def checked_domain(name: str, domain: Sequence[str] | None) -> tuple[float, ...]:
    """Return (x from, x to, y from, y to) as floats.

    Raises:
      UsageError: for anything but four finite numbers in that order.
    """
    text = ",".join(domain or [])
    try:
        numbers = tuple(float(number) for number in domain or ())
    except ValueError:
        numbers = ()
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise UsageError(
            f"--domain={text}: expected four numbers, x from, x to, y from, y to, for "
            f"--function={name}: --domain=-1,1,-1,1"
        )
    if max(map(abs, numbers)) > LARGEST:
        raise UsageError(f"--domain={text}: expected numbers of at most {LARGEST:.1g}")
    if numbers[0] >= numbers[1] or numbers[2] >= numbers[3]:
        raise UsageError(f"--domain={text}: expected x from < x to, and y from < y to")
    return numbers


def grid(domain: Sequence[float], side: int) -> np.ndarray:
    """Return evenly spaced points [side * side,2], y along the rows, edges included."""
    x_from, x_to, y_from, y_to = domain
    x, y = np.linspace(x_from, x_to, side), np.linspace(y_from, y_to, side)
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def labeled_points(
    function: Function, count: int, seed: Sequence[int], largest: float = LARGEST
) -> st.targets.Table:
    """Draw points [B,2] uniformly from the domain: values [B,1], gradients [B,1,2], in float64.

    Args:
      function: what to label.
      count: how many points.
      seed: seed of the points.
      largest: the largest value or slope whose squares can be added up.

    Raises:
      UsageError: where a value or a slope is not finite, or larger than `largest`.
    """
    low, high = np.array(function.domain, float).reshape(2, 2).T
    x = np.random.default_rng(seed).uniform(low, high, [count, 2])
    labels = st.targets.tabulate(function, x, batch_size=len(x))
    if not all(np.isfinite(label).all() for label in labels):
        raise UsageError(
            f"--function={function.name} has values or slopes that are not finite on its domain"
        )
    found = max(float(np.abs(label).max()) for label in (x, *labels))
    if found > largest:
        raise UsageError(
            f"--function={function.name} has values, slopes or points of {found:.2g}, whose "
            f"squares are too large to add up: expected at most {largest:.1g}; scale it"
        )
    return st.targets.Table(x, *labels)


def _wave(x: tf.Tensor) -> tf.Tensor:
    return tf.cos(2 * math.pi * x)
