"""Calls that do not fit a function: an error that says how to call it."""

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

# What first derivatives are called by whoever passes them by name.
DERIVATIVES = (
    *("d1", "dy", "dydx", "dy_dx", "df", "grad", "grads", "gradient", "gradients"),
    *("jacobian", "derivative", "derivatives", "slope", "slopes"),
)


def called_as(form: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Refuse calls with too many or too few arguments by a line that shows the right form.

    Args:
      form: the call as a user writes it, with the place of derivatives.

    Returns:
      A decorator. The function keeps its signature and docstring.

    Example:

    >>> @called_as("fit(x, (y, dy))")
    ... def fit(x, y):
    ...     return x
    >>> fit(1, 2)
    1
    >>> fit(1, 2, 3)
    Traceback (most recent call last):
    ValueError: fit: too many positional arguments: pass derivatives as in fit(x, (y, dy)), and \
other arguments by name.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                unknown = [name for name in kwargs if name not in signature.parameters]
                if not unknown or unknown[0] in DERIVATIVES:
                    raise ValueError(
                        f"{function.__name__}: {error}: pass derivatives as in {form}, and other "
                        "arguments by name."
                    ) from None
            return function(*args, **kwargs)

        return call

    return decorate
