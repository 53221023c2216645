"""Errors that name what the user called."""

import contextlib
from collections.abc import Iterator


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
