"""Black boxes whose differences are no derivatives: they round, or are not analytic."""

from collections.abc import Callable, Sequence

import numpy as np

from sobolev_tf import warn

ROWS = 8  # at which complex steps and forward differences are doubted
_STEP = 2.0**-17  # of x's size
ROUNDED = 1e-8  # of f's size; smooth functions curve less than that over a step of 1e-5
ROUNDED_SHORT = 1e-10  # the same for the step of forward differences, 1e-8
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
    x = x[np.unique(np.linspace(0, len(x) - 1, ROWS).astype(int))]
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


def warn_of_jumps(
    base: np.ndarray, values: Sequence[np.ndarray], least: float, single: bool
) -> bool:
    """Warn if values at three points in a row show that differences are no derivatives.

    Args:
      base: f(x) [B,p,K].
      values: f at the ends and in the middle of p steps from each row, in order along the step.
      least: the share of f's size that a bend has to exceed.
      single: whether steps are those for float32.

    Returns:
      Whether there was a warning.
    """
    below, middle, above = values
    if is_rounded(below, middle, above, np.abs(base).max((0, 1), initial=0.0) * least):
        text = (
            "fn jumps, or stays as it is, within a step of at most 1e-5 of x: its differences are "
            "mostly rounding, noise or kinks: give step= of about the cube root of its relative "
            "error, or values with more digits."
        )
    elif not single and is_single(below, middle, above):
        text = (
            "fn returns float64 that was computed in float32: steps for float64 are too short for "
            "its digits: return float32, or give step=5e-3 of the size of x."
        )
    else:
        return False
    warn.at_users_line(f"FiniteDifferences: {text}")
    return True


def is_rounded(
    below: np.ndarray, value: np.ndarray, above: np.ndarray, least: np.ndarray | float = 0.0
) -> bool:
    """Tell whether an output jumps within short steps, where a smooth one is almost on a line.

    Args:
      below, value, above: f [B,p,K] at the ends and in the middle of p steps from each row, of at
        most 1e-5 of x's size.
      least: [K], smaller bends are no jumps; where it is 0, nothing is known of f's size.

    Example:

    >>> x = np.linspace(0, 1, 50)[:, None, None]
    >>> ends = [np.sin(x + h) for h in (-1e-5, 0.0, 1e-5)]
    >>> [is_rounded(*(np.round(end, digits) for end in ends), 1e-8) for digits in (15, 3, 1)]
    [False, True, True]
    """
    if not value.size:
        return False
    bends, rises = np.abs(above + below - 2 * value), np.abs(above - below)
    moving = ((bends > 0) | (rises > 0)).sum((0, 1))
    jumps = (bends > _BENT * rises) & (bends > least) & np.greater(least, 0)
    flat = (moving == 0) & (np.ptp(value, axis=(0, 1)) > 0)
    return bool(np.any(flat | (jumps.sum((0, 1)) > _SHARE * moving)))


def is_single(*values: np.ndarray) -> bool:
    """Tell whether an output of float64 was computed in float32.

    Args:
      values: f [B,p,K] at points in a row.

    Example:

    >>> x = np.linspace(0, 1, 50)[:, None, None]
    >>> [is_single(*(np.sin(x + h).astype(t) for h in (0.0, 1e-5))) for t in ("f4", "f8")]
    [True, False]
    """
    # Zeros, and what does not change, may be exact in any precision.
    telling = np.all([v != 0 for v in values], 0) & np.any([v != values[0] for v in values], 0)
    exact = np.all([v == v.astype("f4") for v in values], 0)
    return bool(np.any(telling.any((0, 1)) & (exact | ~telling).all((0, 1))))
