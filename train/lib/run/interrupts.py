"""Ctrl-C while packages are imported, before `cli.run`: one line instead of a traceback.

Imports nothing but the standard library: it runs before TensorFlow is imported.
"""

import sys
from types import TracebackType


def prepare() -> None:
    """Let `python -m train.SCRIPT` say in one line that it was stopped.

    Python then still ends as a process does that SIGINT has killed.
    """
    if sys.argv[:1] == ["-m"]:  # so it is called while the package is imported
        sys.excepthook = one_line


def one_line(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print an exception as Python does, but Ctrl-C as one line."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped by Ctrl-C", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)
