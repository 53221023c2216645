"""Errors that end a script with one line on stderr instead of a traceback."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

LONGEST = 300  # characters of a message that is not ours

# What TensorFlow puts around a message.
MARKS = re.compile(
    r"\{\{(function_)?node [^}]*\}\}|\[Op:[^\]]*\]|\[\[[^\]]*\]\]|^\s*\(\d+\) [A-Z_]+:\s*"
)
PREAMBLE = re.compile(
    r"\s*$|Graph execution error:|Detected at node|\s+File \"|<stack traces|\d+ root error"
)


class CommandError(Exception):
    """An error that ends the script with one line on stderr and the exit code `code`."""

    code = 1


class UsageError(CommandError):
    """A flag, data set or folder that cannot be used: exit code 2."""

    code = 2


class DamagedError(UsageError):
    """A file that is not what was written there."""


@contextlib.contextmanager
def usage_errors(kinds: type[Exception] = ValueError) -> Iterator[None]:
    """Turn a library's ValueError (or other `kinds`) about bad input into a UsageError."""
    try:
        yield
    except kinds as error:
        raise UsageError(error) from error


@contextlib.contextmanager
def reading(where: object, remedy: str, verdict: str = "is missing or damaged") -> Iterator[None]:
    """Turn whatever is raised while something is read into one line; wrap no more than that.

    Parsers of TensorFlow, TFDS, zip files and JSON raise exceptions of many kinds.

    Args:
      where: the file or folder.
      remedy: what to do.
      verdict: what is wrong with it.

    Raises:
      DamagedError: "WHERE VERDICT: REASON; REMEDY".
    """
    try:
        yield
    except (CommandError, MemoryError):
        raise
    except Exception as error:
        raise DamagedError(f"{where} {verdict}: {last_line(error)}; {remedy}") from error


def last_line(error: BaseException) -> str:
    """Return what an exception says, as one line, without TensorFlow's marks.

    >>> last_line(ValueError("[[{{node decode}}]] no image [Op:IteratorGetNext]"))
    'no image'
    >>> last_line(KeyError("name"))
    "KeyError: 'name'"
    """
    if isinstance(error, UnicodeDecodeError):  # TensorFlow's message has a record's bytes in it
        text = error.object.decode(errors="backslashreplace")
    elif isinstance(error, tf.errors.OpError):
        text = error.message
    elif isinstance(error, OSError):
        text = error.strerror or str(error)
    elif isinstance(error, RecursionError):
        text = "it is nested too deeply"
    elif isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    lines = [line for line in text.splitlines() if not PREAMBLE.match(line)]
    cleaned = [one_line(MARKS.sub("", line)) for line in lines]
    first = next(filter(None, cleaned), type(error).__name__)
    return first if len(first) <= LONGEST else f"{first[:LONGEST]}..."


def one_line(message: object) -> str:
    r"""Return `message` with every run of white space as one space, and no control characters.

    >>> one_line("no such\n  layer \x1b")
    'no such layer \\x1b'
    """
    text = " ".join(str(message).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
