"""Cases of a parameter."""

from typing import Any

import pytest


def slow(*cases: Any) -> list:
    """Return cases that only `-m slow` runs: further values of a parameter.

    Example:

    >>> [case.values for case in slow("a", "b")]
    [('a',), ('b',)]
    """
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]
