"""Warnings that show the user's line, however deep the function that warns."""

import sys
import warnings

_BETWEEN = ("sobolev_tf", "keras", "tensorflow", "contextlib")  # the user and a function that warns


def at_users_line(message: str) -> None:
    """Warn, and name the line from which the user called the library.

    Args:
      message: the text of the warning.

    Example:

    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     at_users_line("fit: the labels are all zero.")
    >>> str(caught[0].message)
    'fit: the labels are all zero.'
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
