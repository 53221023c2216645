"""Errors that end a script with one line on stderr instead of a traceback."""

import contextlib
from collections.abc import Iterator


class CommandError(Exception):
    """An error that ends the script with one line on stderr and the exit code `code`."""

    code = 1


class UsageError(CommandError):
    """A flag, data set or folder that cannot be used: exit code 2."""

    code = 2


@contextlib.contextmanager
def usage_errors(kinds: type[Exception] = ValueError) -> Iterator[None]:
    """Turn a library's ValueError (or other `kinds`) about bad input into a UsageError."""
    try:
        yield
    except kinds as error:
        raise UsageError(error) from error


def one_line(message: object) -> str:
    """Return `message` with every run of white space as one space.

    >>> one_line("no such\\n  layer")
    'no such layer'
    """
    return " ".join(str(message).split())
