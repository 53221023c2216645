"""Schemas of files: a file that differs from its schema is damaged, and is not used."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Kind = type | tuple[type, ...]
NUMBER = (int, float)
OPTIONAL_NUMBER = (int, float, type(None))
OPTIONAL_TEXT = (str, type(None))


def check(
    value: Any, required: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None
) -> None:
    """Raise ValueError unless `value` is a dict whose entries have these types.

    True and False are no numbers, and NaN and infinity are none either.

    Args:
      value: the content of a JSON file.
      required: {key: its type or types}.
      optional: the same, of keys that may be missing.

    >>> check({"step": 3}, {"step": int})
    >>> check({"step": "3"}, {"step": int})
    Traceback (most recent call last):
    ValueError: 'step' is '3', expected int
    """
    if not isinstance(value, dict):
        raise ValueError(f"it holds {_short(value)}, expected a dict")
    for key in required:
        if key not in value:
            raise ValueError(f"it lacks {key!r}")
    for key, kind in {**(optional or {}), **required}.items():
        if key in value and not _is_of(value[key], kind):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            names = " or ".join("null" if each is type(None) else each.__name__ for each in kinds)
            raise ValueError(f"{key!r} is {_short(value[key])}, expected {names}")


def check_numbers(value: Any, at_least: int = 1) -> None:
    """Raise ValueError unless `value` is a list, or the values of a dict, of finite numbers."""
    numbers = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(numbers, list) or len(numbers) < at_least:
        raise ValueError(f"it holds {_short(value)}, expected at least {at_least} numbers")
    for number in numbers:
        if not _is_of(number, NUMBER):
            raise ValueError(f"it holds {_short(number)} among numbers")


def check_shares(value: Any, count: int) -> None:
    """Raise ValueError unless `value` is a list of `count` numbers from 0 to 1."""
    check_numbers(value, count)
    if len(value) != count or not all(0 <= share <= 1 for share in value):
        raise ValueError(f"it holds {_short(value)}, expected {count} numbers from 0 to 1")


def check_arrays(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, list[int]]) -> None:
    """Raise ValueError unless `arrays` are real numbers of these names and shapes."""
    for name in sorted(arrays.keys() | shapes.keys()):
        there = list(arrays[name].shape) if name in arrays else "missing"
        expected = shapes.get(name, "nothing")
        if there != expected:
            raise ValueError(f"{name} is {there}, expected {expected}")
        if arrays[name].dtype.kind != "f":
            raise ValueError(f"{name} holds {arrays[name].dtype}, expected real numbers")


def check_columns(columns: Iterable[str], required: Iterable[str]) -> None:
    """Raise ValueError unless all `required` columns are there."""
    there = list(columns)
    for name in required:
        if name not in there:
            raise ValueError(f"it lacks the column {name!r}, only {', '.join(map(str, there))}")


def _is_of(value: Any, kind: Kind) -> bool:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if isinstance(value, bool):
        return bool in kinds
    if float in kinds and isinstance(value, NUMBER):
        return math.isfinite(value)
    return isinstance(value, kinds)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
