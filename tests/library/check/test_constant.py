"""Columns of dy that were never filled are found; constant slopes that are right pass."""

import numpy as np
import pytest

from sobolev_tf.check import check_labels


def labeled(count, size):
    """Rows of two outputs; the second one's slope along input 0 is 3 everywhere."""
    x = np.random.default_rng(size).uniform(-1, 1, [count, size])
    y = np.stack([np.exp(x[:, 0]) * np.sin(2 * x).sum(1), 3 * x[:, 0] + np.sin(3 * x[:, 1])], 1)
    dy = np.zeros([count, 2, size])
    dy[:, 0] = 2 * np.cos(2 * x) * np.exp(x[:, :1])
    dy[:, 0, 0] += y[:, 0]
    dy[:, 1, 0], dy[:, 1, 1] = 3, 3 * np.cos(3 * x[:, 1])
    return x, y, dy


SIZES = [(60, 2), (300, 3), (1000, 8)]


@pytest.mark.parametrize(("count", "size"), SIZES)
@pytest.mark.parametrize("number", [0.0, 1.0])
def test_a_column_that_was_not_filled_is_named(count, size, number):
    x, y, dy = labeled(count, size)
    dy[:, 0, 1] = number
    dy[::7, 0] = np.nan  # missing labels are no other number
    [finding] = check_labels(x, y, dy).findings
    assert (finding.kind, finding.outputs, finding.inputs) == ("disagree", (0,), (1,))
    assert f"dy is {number:.0f} in all rows" in finding.message


@pytest.mark.parametrize(("count", "size"), SIZES)
def test_constant_slopes_pass_beside_others_and_noise(count, size):
    x, y, dy = labeled(count, size)
    dy[:, 1, -1] = np.nan  # nothing is known of it
    assert check_labels(x, y, dy).ok
    noisy = y + np.random.default_rng(0).normal(0, 0.1, y.shape)
    assert not any("in all rows" in f.message for f in check_labels(x, noisy, dy).findings)
