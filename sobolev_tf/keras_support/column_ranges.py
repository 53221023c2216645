"""The lowest and the highest number of each column of an array, in one pass over memory."""

import numpy as np

_BYTES = 2**18  # in a piece, which both reductions read from the cache
_WIDE = 512  # numbers in a row of a piece, since short rows are slow to reduce


def column_ranges(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest number of each column.

    Args:
      array: [B,...] of floats, with B at least 1.

    Returns:
      Both [...] flattened, [1] of an array [B]; NaN in columns with NaN.

    Example:

    >>> low, high = column_ranges(np.array([[1.0, 5.0], [3.0, -np.inf], [2.0, np.nan]]))
    >>> low.tolist(), high.tolist()
    ([1.0, nan], [3.0, nan])
    """
    rows = array.reshape(len(array), -1)
    columns = rows.shape[1]
    if not columns:
        return rows[0], rows[0]
    side = max(1, _WIDE // columns)  # rows that are reduced side by side
    piece = side * max(1, _BYTES // (side * columns * rows.itemsize))
    low, high = rows[0], rows[0]
    with np.errstate(all="ignore"):
        for start in range(0, len(rows), piece):
            part = rows[start : start + piece]
            whole = len(part) - len(part) % side
            for block in (part[:whole].reshape(-1, side * columns), part[whole:]):
                if len(block):
                    low = np.minimum(low, _narrow(np.minimum, block, columns))
                    high = np.maximum(high, _narrow(np.maximum, block, columns))
    return low, high


def are_finite(low: np.ndarray, high: np.ndarray) -> bool:
    """Tell whether all numbers between lie within what `column_ranges` returned.

    >>> are_finite(*column_ranges(np.ones([2, 1]))), are_finite(*column_ranges(np.array([np.inf])))
    (True, False)
    """
    return bool(np.isfinite(low).all() and np.isfinite(high).all())


def _narrow(extreme, block, columns):
    """Reduce rows that stand side by side to one row of the columns."""
    return extreme.reduce(extreme.reduce(block, axis=0).reshape(-1, columns), axis=0)
