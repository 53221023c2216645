"""Lowest and highest numbers by column, against NumPy's over the whole array."""

import numpy as np
import pytest

from sobolev_tf.keras_support.column_ranges import are_finite, column_ranges


@pytest.mark.parametrize("rows", [1, 63, 64, 5000, 70001])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (8,), (2, 3), (700,)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_row_counts(rows, shape, dtype):
    if rows * int(np.prod(shape, dtype=int)) > 2**20:
        rows = 1500
    array = np.random.default_rng(0).normal(size=[rows, *shape]).astype(dtype)
    low, high = column_ranges(array)
    np.testing.assert_array_equal(low, array.min(0).reshape(-1))
    np.testing.assert_array_equal(high, array.max(0).reshape(-1))
    assert are_finite(low, high)
    for row in {0, rows // 2, rows - 1}:
        for value in (np.nan, np.inf, -np.inf):
            wrong = np.array(array)
            wrong[row] = value
            assert not are_finite(*column_ranges(wrong))


def test_other_orders_in_memory():
    array = np.asfortranarray(np.random.default_rng(0).normal(size=[1000, 3]))
    for given in (array, array[::-1], array[::2, 1:], np.broadcast_to(array[:1], [50, 3])):
        np.testing.assert_array_equal(column_ranges(given)[0], given.min(0))
