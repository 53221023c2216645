"""Checks of arguments: each raises an error of one line with name, expectation, and value.

Types are checked before values are compared. Every check returns its argument in plain form, so
that a constructor can say `self.order = require.whole_number(...)`.
"""

import operator
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

_LONGEST = 60  # characters of a value that an error shows


def shown(value: Any) -> str:
    """Return a value as errors show it: its repr if that is short, else its type.

    Example:

    >>> shown(1.5), shown("adam"), shown(np.zeros([2, 3])), shown([0.0] * 100)
    ('1.5', "'adam'", 'an array of shape [2, 3]', 'a list')
    """
    if callable(getattr(value, "__array__", None)) and getattr(value, "shape", ()) != ():
        return f"an array of shape {list(value.shape)}"
    short = repr(value)
    if isinstance(value, type) or len(short) > _LONGEST or "\n" in short or " at 0x" in short:
        return _a(value.__name__ if isinstance(value, type) else type(value).__name__)
    return short


def whole_number(caller: str, name: str, value: Any, at_least: int | None = None) -> int:
    """Return a whole number.

    Args:
      caller: the public function or class that the error names.
      name: the argument.
      value: what was passed.
      at_least: the smallest number that is accepted; None for any.

    Raises:
      ValueError: for anything else; True and False are no numbers.

    Example:

    >>> whole_number("jet", "order", 1.5, at_least=0)
    Traceback (most recent call last):
    ValueError: jet: order is a whole number of at least 0, got 1.5.
    """
    number = None
    if not isinstance(value, bool | np.bool_):
        try:
            number = operator.index(value)
        except (TypeError, ValueError):
            number = None
    if number is None or (at_least is not None and number < at_least):
        bound = "" if at_least is None else f" of at least {at_least}"
        raise ValueError(f"{caller}: {name} is a whole number{bound}, got {shown(value)}.")
    return number


def number(
    caller: str,
    name: str,
    value: Any,
    at_least: float | None = None,
    above: float | None = None,
) -> float:
    """Return a finite number.

    Args:
      caller: the public function or class that the error names.
      name: the argument.
      value: what was passed.
      at_least, above: bounds, included and excluded; None for none.

    Raises:
      ValueError: for anything else; True and False are no numbers.

    Example:

    >>> number("fit_lbfgs", "tolerance", float("nan"), at_least=0)
    Traceback (most recent call last):
    ValueError: fit_lbfgs: tolerance is a finite number of at least 0, got nan.
    """
    plain = _plain_number(value)
    low = plain is not None and (
        (at_least is not None and plain < at_least) or (above is not None and plain <= above)
    )
    if plain is None or low or not np.isfinite(plain):
        bounds = "" if at_least is None else f" of at least {at_least:g}"
        bounds += "" if above is None else f" above {above:g}"
        raise ValueError(f"{caller}: {name} is a finite number{bounds}, got {shown(value)}.")
    return plain


def one_of(caller: str, name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return a value that is one of the choices.

    Raises:
      ValueError: for anything else.

    Example:

    >>> one_of("SobolevModel", "projection", "inputs", ["input", "output", None])
    Traceback (most recent call last):
    ValueError: SobolevModel: projection is 'input', 'output' or None, got 'inputs'.
    """
    choices = list(choices)
    # Types first: an array compared with a name would be an array, and 1 equals True.
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return value
    names = [repr(choice) for choice in choices]
    listed = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    raise ValueError(f"{caller}: {name} is {listed}, got {shown(value)}.")


def model(caller: str, name: str, value: Any) -> keras.Model:
    """Return a Keras model.

    Raises:
      ValueError: for anything else, such as a path, a layer or a function.

    Example:

    >>> model("SobolevModel", "net", "net.keras")
    Traceback (most recent call last):
    ValueError: SobolevModel: net is a keras.Model, got 'net.keras'.
    """
    if isinstance(value, keras.Model):
        return value
    advice = ""
    if isinstance(value, keras.layers.Layer):
        advice = ": wrap it, as in keras.Sequential([layer])"
    raise ValueError(f"{caller}: {name} is a keras.Model, got {shown(value)}{advice}.")


def function(caller: str, name: str, value: Any) -> Any:
    """Return what can be called.

    Raises:
      ValueError: for anything else.

    Example:

    >>> function("Function", "fn", 3)
    Traceback (most recent call last):
    ValueError: Function: fn is a function, got 3.
    """
    if callable(value) and not isinstance(value, type):
        return value
    raise ValueError(f"{caller}: {name} is a function, got {shown(value)}.")


def switch(caller: str, name: str, value: Any) -> bool:
    """Return True or False.

    Raises:
      ValueError: for anything else.

    Example:

    >>> switch("Projection", "unbiased", "no")
    Traceback (most recent call last):
    ValueError: Projection: unbiased is True or False, got 'no'.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ValueError(f"{caller}: {name} is True or False, got {shown(value)}.")


def lengths(caller: str, name: str, value: Any, at_least: int = 1) -> tuple[int, ...]:
    """Return whole numbers, such as the lengths of axes or the units of layers.

    Args:
      caller: the public function or class that the error names.
      name: the argument.
      value: what was passed.
      at_least: the smallest number that is accepted.

    Raises:
      ValueError: for anything else.

    Example:

    >>> lengths("mlp", "hidden", [8, 8.5])
    Traceback (most recent call last):
    ValueError: mlp: hidden is a list of whole numbers of at least 1, got [8, 8.5].
    """
    try:
        if isinstance(value, str | bytes | dict):
            raise TypeError
        return tuple(whole_number(caller, name, entry, at_least) for entry in value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{caller}: {name} is a list of whole numbers of at least {at_least}, got "
            f"{shown(value)}."
        ) from None


def same_rows(caller: str, arrays: dict[str, Any], at_least: int = 1) -> int:
    """Return the number of rows that all arrays have; entries that are None are ignored.

    Args:
      caller: the public function that the error names.
      arrays: [B,...] by name.
      at_least: the smallest number of rows that is accepted.

    Raises:
      ValueError: arrays have different numbers of rows, too few, or no axis of rows.

    Example:

    >>> same_rows("fit", {"x": np.zeros([3, 2]), "label d1": np.zeros([2, 1])})
    Traceback (most recent call last):
    ValueError: fit: x has 3 rows and label d1 has 2: each row of x needs one of every other array.
    """
    rows: dict[str, int] = {}
    for name, array in arrays.items():
        if array is None:
            continue
        if not (shape := np.shape(array)):
            raise ValueError(
                f"{caller}: {name} is an array with a row for each example, got one "
                f"number, {shown(array)}."
            )
        rows[name] = int(shape[0])
    if not rows:
        return 0
    first, count = next(iter(rows.items()))
    for name, other in rows.items():
        if other != count:
            raise ValueError(
                f"{caller}: {first} has {_count(count)} and {name} has {other}: each row of "
                f"{first} needs one of every other array."
            )
    if count < at_least:
        what = "there is no data" if not count else "there is too little data"
        raise ValueError(f"{caller}: {what}, {first} has {_count(count)}, expected {at_least}.")
    return count


def finite_rows(
    caller: str, name: str, array: Any, missing: bool = False, start: int = 0
) -> np.ndarray:
    """Return an array of finite numbers.

    Args:
      caller: the public function that the error names.
      name: the array.
      array: [B,...].
      missing: whether NaN is accepted, as a missing entry.
      start: the number of the first row.

    Raises:
      ValueError: names the first row (from 0) that is not finite.

    Example:

    >>> finite_rows("fit", "x", np.array([[0.0], [np.inf]]))
    Traceback (most recent call last):
    ValueError: fit: x has infinity, first in row 1: every number of it must be finite.
    """
    array = np.asarray(array)
    if (first := first_row_not_finite(array, missing)) is None:
        return array
    row, what = first
    raise ValueError(
        f"{caller}: {name} has {what}, first in row {start + row}: every number of it must be "
        "finite."
    )


def first_row_not_finite(array: np.ndarray, missing: bool = False) -> tuple[int, str] | None:
    """Return the first row that is not finite, with "NaN" or "infinity"; None if all are finite.

    Finite arrays are read once, and not copied.

    Example:

    >>> first_row_not_finite(np.array([0.0, np.nan, np.inf]))
    (1, 'NaN')
    >>> first_row_not_finite(np.array([0.0, np.nan, np.inf]), missing=True)
    (2, 'infinity')
    """
    if array.dtype.kind in "biu":
        return None
    if array.dtype.kind not in "fc":  # half precision of other libraries, such as bfloat16
        array = array.astype("float32")
    with np.errstate(all="ignore"):
        if not array.size or np.isfinite(array.sum()):
            return None
    wrong = np.isinf(array) if missing else ~np.isfinite(array)
    if not wrong.any():
        return None
    row = int(np.argmax(wrong.reshape(len(array), -1).any(axis=1))) if array.ndim else 0
    entries = array[row] if array.ndim else array
    return row, "infinity" if missing or not np.isnan(entries).any() else "NaN"


def weights(caller: str, name: str, array: Any, start: int = 0) -> np.ndarray:
    """Return weights: finite numbers of at least 0.

    Args:
      caller: the public function that the error names.
      name: the weights.
      array: [B] or [B,1].
      start: the number of the first row.

    Raises:
      ValueError: names the first row (from 0) that is negative or not finite.

    Example:

    >>> weights("fit", "sample_weight", np.array([1.0, -2.0]))
    Traceback (most recent call last):
    ValueError: fit: sample_weight is -2 in row 1: weights are at least 0.
    """
    array = finite_rows(caller, name, array, start=start)
    if array.size and array.min() < 0:
        row = int(np.argmax(array.reshape(len(array), -1).min(axis=1) < 0)) if array.ndim else 0
        raise ValueError(
            f"{caller}: {name} is {float(np.min(array[row] if array.ndim else array)):g} in row "
            f"{start + row}: weights are at least 0."
        )
    return array


def _plain_number(value):
    """A float, or None if the value is not a number."""
    is_text = isinstance(value, bool | np.bool_ | str | bytes)
    if is_text or isinstance(value, complex) or getattr(value, "shape", ()) != ():
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _a(name):
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def _count(rows):
    return f"{rows} row{'' if rows == 1 else 's'}"
