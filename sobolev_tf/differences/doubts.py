"""Black boxes whose differences are no derivatives: they round, or are not analytic."""

import warnings
from collections.abc import Callable

import numpy as np

_ROWS = 8  # at which a function's complex step is compared with its central differences
_STEP = 2.0**-17  # of x's size
_ROUNDED = 1e-8  # of f's size; smooth functions curve less than that over a step of 1e-5
_BENT = 0.05  # share of their sum by which both sides of a step may differ
_SHARE = 0.25  # of the entries that change at all


def refuse_not_analytic(fn: Callable, x: np.ndarray, size: np.ndarray) -> None:
    """Refuse a function that drops imaginary parts on its way: its complex step is no derivative.

    Args:
      fn: z [N,*in] complex -> [N,*out] complex.
      x: [B,*in].
      size: the typical size of x, as it broadcasts against it.

    Raises:
      ValueError: along one direction, at most of a few rows, the complex step and central
        differences are nothing alike.

    Example:

    >>> refuse_not_analytic(lambda z: z * np.conj(z), np.ones([4, 1]), np.ones([]))
    Traceback (most recent call last):
    ValueError: FiniteDifferences: scheme="complex": the complex step says 0 and central \
differences say 2 at [1.]: fn is not analytic (real, conj, abs, a comparison or a cast drops \
imaginary parts); take scheme="central".
    """
    if not len(x):
        return
    x = x[np.unique(np.linspace(0, len(x) - 1, _ROWS).astype(int))]
    step = _STEP * np.maximum(np.abs(x), size)
    numbers = np.arange(step[0].size).reshape(step.shape[1:])
    step = step * (0.5 + 0.618 * numbers % 1)  # a direction in which components do not cancel
    below, above, aside = (fn(x + s * step) for s in (-1.0, 1.0, 1e-9j))
    central, imaginary = (above - below).real / 2, aside.imag / 1e-9
    noise = 1e-9 * np.maximum(np.abs(above), np.abs(below)).max()
    wrong = np.abs(central - imaginary) > 0.05 * np.abs(central) + noise
    rows = wrong.reshape(len(x), -1).any(axis=1)
    if 2 * rows.sum() <= len(rows):
        return
    entry = np.unravel_index(np.argmax(wrong), wrong.shape)
    scale = float(np.mean(step[entry[0]]))
    raise ValueError(
        f'FiniteDifferences: scheme="complex": the complex step says '
        f"{imaginary[entry] / scale:.3g} and central differences say "
        f"{central[entry] / scale:.3g} at {x[entry[0]]}: fn is not analytic (real, conj, abs, a "
        'comparison or a cast drops imaginary parts); take scheme="central".'
    )


def is_rounded(below: np.ndarray, value: np.ndarray, above: np.ndarray) -> bool:
    """Tell whether values at the ends of short steps jump, where smooth ones are almost on a line.

    Args:
      below, value, above: f at x - h, x and x + h, of one shape, with h 1e-5 of x's size.

    Example:

    >>> x = np.linspace(0, 1, 50)
    >>> ends = [np.sin(x + h) for h in (-1e-5, 0.0, 1e-5)]
    >>> is_rounded(*ends), is_rounded(*(np.round(end, 3) for end in ends))
    (False, True)
    """
    bends, rises = np.abs(above + below - 2 * value), np.abs(above - below)
    moving = (bends > 0) | (rises > 0)
    jumps = (bends > _BENT * rises) & (bends > _ROUNDED * np.abs(value).max(initial=0.0))
    return bool(jumps.sum() > _SHARE * moving.sum())


def warn_of_rounding() -> None:
    """Warn that derivatives are mostly rounding."""
    warnings.warn(
        "FiniteDifferences: fn jumps within a step of 1e-5 of x: its differences are mostly "
        "rounding, noise or kinks: give step= of about the cube root of its relative error, or "
        "values with more digits.",
        stacklevel=6,
    )
