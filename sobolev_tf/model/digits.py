"""Digits that float32 cannot hold: numbers far from zero that differ by little."""

import math
from typing import Any

import numpy as np

from sobolev_tf import warn
from sobolev_tf.keras_support import arrays
from sobolev_tf.keras_support.column_ranges import are_finite

_RESOLUTION = 2.0**-24  # of float32 near 1
_LEAST = 1e-3  # share of the spread that float32 should resolve
_FLOAT64_NET = 'build the net in float64 (nets.mlp(..., dtype="float64")) and pass float64 arrays'
_FLOAT64_INPUT = 'give the net a keras.Input of dtype="float64", as its layers have'


def warn_of_lost_digits(
    model: Any, caller: str, x: Any, labels: dict[str, Any], ranges: dict[str, tuple]
) -> None:
    """Warn if numbers are rounded to float32 that differ by less than float32 resolves.

    A float32 net rounds x and labels; a float64 net rounds x where its keras.Input is float32.

    Args:
      model: an `EquationModel`, which is warned about once for each array.
      caller: the method that the warning names.
      x: the net's inputs, as arrays.
      labels: by name of term, as arrays.
      ranges: lowest and highest numbers of columns, by name of the array, as far as known.
    """
    if not model.equation.rounds_x():
        return
    named, advice = arrays.entries("x", x), _FLOAT64_INPUT
    if not model.equation.is_float64():
        advice = _FLOAT64_NET
        for name, label in labels.items():
            if name != "directions":
                named |= arrays.entries(f"label {name}", label)
    for name, array in named.items():
        numbers = arrays.on_host(array) if arrays.is_array(array) else None
        if numbers is None or numbers.dtype.kind not in "iuf" or numbers.dtype.itemsize < 4:
            continue
        _warn(model, caller, name, numbers, ranges.get(name), advice)


def resolved(offset: float, spread: float) -> float:
    """Return how many digits of a spread around an offset float32 holds.

    >>> round(resolved(offset=-291230.0, spread=0.02))
    0
    >>> round(resolved(offset=1.0, spread=1.0))
    7
    """
    return max(0.0, math.log10(spread / (abs(offset) * _RESOLUTION)))


def _warn(model, caller, name, numbers, known, advice):
    if numbers.ndim > 2 or not len(numbers) or name in model.warned:
        return  # images and full derivatives have no column of offsets
    if known is None or not are_finite(*known):  # NaN entries are ignored
        known = [np.atleast_1d(extreme.reduce(numbers, axis=0)) for extreme in (np.fmin, np.fmax)]
    low, high = known
    low, high = low.astype("float64"), high.astype("float64")
    spread, offset = high - low, np.maximum(np.abs(low), np.abs(high))
    # Rounding leaves a trace of spread in a constant column; whole numbers are exact.
    trace = np.finfo(numbers.dtype).eps if numbers.dtype.kind == "f" else 0.0
    spreads = spread > 8 * trace * offset
    lost = spreads & (offset * _RESOLUTION > _LEAST * spread)
    if not lost.any():
        return
    column = int(np.argmax(lost))
    where = f", component {column}," if len(lost) > 1 else ""
    model.warned.add(name)
    warn.at_users_line(
        f"{caller}: {name}{where} varies by {spread[column]:.2g} around {low[column]:.9g}, and "
        f"float32 holds {resolved(offset[column], spread[column]):.0f} of its digits: "
        f"{advice}, or subtract the offset first."
    )
