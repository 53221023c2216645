"""Refusals: an error of the library is one line."""

from collections.abc import Callable

import pytest


def refused_in_one_line(call: Callable, words: str) -> pytest.ExceptionInfo:
    """Assert that a call raises a ValueError of one line with these words, a regular expression."""
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
    return caught
