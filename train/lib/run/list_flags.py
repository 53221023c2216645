"""Flags that are lists of numbers, such as --num_points=20,100."""

import math
from collections.abc import Sequence
from typing import Any

from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings


def whole_numbers(settings: Settings, name: str) -> list[int]:
    """Return the list of a flag as numbers of at least 1.

    Raises:
      UsageError: for anything else in the list, or an empty one.
    """
    typed = settings.values[name]
    try:
        parsed = [int(number) for number in typed]
    except ValueError:
        parsed = []
    if not parsed or min(parsed) < 1:
        raise _error(name, typed, "whole numbers of at least 1, as in 20,100")
    return parsed


def distinct_whole_numbers(settings: Settings, name: str) -> list[int]:
    """Return the list of a flag as `whole_numbers` does, each number once: nets of its own."""
    return list(dict.fromkeys(whole_numbers(settings, name)))


def distinct_numbers(
    settings: Settings, name: str, below: float = math.inf, zero: bool = False
) -> list[float]:
    """Return the numbers of a flag, each once, in the order in which they were typed.

    Args:
      settings: with the flag, which is a list or one number.
      name: the flag's.
      below: the numbers are smaller than this.
      zero: whether they may be 0; otherwise they are above it.

    Raises:
      UsageError: for anything else in the list, or an empty one.
    """
    value = settings.values[name]
    typed = value if isinstance(value, list | tuple) else [value]
    try:
        parsed = [float(number) for number in typed]
    except ValueError:
        parsed = []
    lowest = 0.0 if zero else math.nextafter(0.0, 1.0)
    if not parsed or not all(lowest <= number < below for number in parsed):
        expected = "numbers of at least 0" if zero else "numbers above 0"
        expected += f" and below {below:g}" if below < math.inf else ""
        raise _error(name, typed, expected)
    return list(dict.fromkeys(parsed))


def _error(name: str, typed: Sequence[Any], expected: str) -> UsageError:
    return UsageError(f"--{name}={','.join(map(str, typed))}: expected {expected}")
