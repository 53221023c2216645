"""Errors about shapes, with the number of rows that the user passed in place of a batch's."""

import re
from typing import Any

import numpy as np

_SHAPE = re.compile(
    r"(?:^|: )(x|label \w+|directions of \w+) ha(?:s|ve) shape (\[\w+((?:, \w+)*)\])"
)


def with_rows(text: str, passed: dict[str, Any]) -> str:
    """Return an error's text with the whole shape of the array that it names.

    Args:
      text: the error, about a batch of the arrays, or about anything else.
      passed: arrays by what errors call them. One whose other axes differ is not meant.

    Example:

    >>> with_rows("fit: x has shape [B, 3], expected [B, 4].", {"x": np.zeros([40, 3])})
    'fit: x has shape [40, 3], expected [B, 4].'
    """
    found = _SHAPE.search(text)
    shape = list(np.shape(passed[found[1]])) if found and found[1] in passed else []
    if not found or "".join(f", {size}" for size in shape[1:]) != found[3] or not shape:
        return text
    start, stop = found.span(2)
    return text[:start] + str(shape) + text[stop:]
