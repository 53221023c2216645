"""Errors that name what the user called."""

import contextlib
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def errors_of(caller: str) -> Iterator[None]:
    """Put a caller's name in front of the ValueErrors from below.

    Example:

    >>> with errors_of("compile"):
    ...     check_choice("method", "sobolov", ["sobolev", "vfbn"])
    Traceback (most recent call last):
    ValueError: compile: method is one of sobolev, vfbn; got 'sobolov'.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{caller}: {error}") from error


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is one of {', '.join(choices)}; got {value!r}.")
