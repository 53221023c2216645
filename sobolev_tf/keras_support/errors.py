"""Errors that name what the user called, and warnings that name the line."""

import contextlib
import sys
from collections.abc import Iterator

_BETWEEN = ("sobolev_tf", "keras", "contextlib")  # the user and a function that warns


@contextlib.contextmanager
def errors_of(caller: str) -> Iterator[None]:
    """Put a caller's name in front of the ValueErrors from below that do not have it.

    Example:

    >>> with errors_of("compile"):
    ...     raise ValueError("loss_weights has 3 entries, expected 2.")
    Traceback (most recent call last):
    ValueError: compile: loss_weights has 3 entries, expected 2.
    """
    try:
        yield
    except ValueError as error:
        if str(error).startswith(caller):
            raise
        raise ValueError(f"{caller}: {error}") from error


def users_line() -> int:
    """Return the `stacklevel` that gives a warning of the calling function the user's line.

    Example:

    >>> users_line() >= 1
    True
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    return level
