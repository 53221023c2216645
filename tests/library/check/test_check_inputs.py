"""check: what x, y, dy and the function may be."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.sparse import csr_matrix

from sobolev_tf.check import check_labels
from tests.support.labeled import column, data, kinds, labels, pair, sines, styblinski_tang


def test_missing_labels_are_left_out(function):
    x, y, dy = data(pair, 1000)
    rng = np.random.default_rng(0)
    y[rng.random(y.shape) < 0.1] = np.nan
    dy[rng.random(dy.shape) < 0.1] = np.nan
    assert check_labels(x, y, dy, function(pair)).ok
    dy[:, :, 1] *= -1
    check = check_labels(x, y, dy, function(pair))
    assert [(f.kind, f.inputs) for f in check.findings] == [("wrong sign", (1,))]
    dy[:, 0] = np.nan
    check = check_labels(x, y, dy, function(pair))
    # Without the function an output that has no slopes is named as not judged.
    assert kinds(check) == {"wrong sign"} | (set() if function(pair) else {"cannot tell"})
    assert kinds(check_labels(x, y, dy * np.nan, function(pair))) == {"cannot tell"}


def test_images(function):
    weights = np.random.default_rng(1).normal(size=[4, 4, 1]) / 4

    def fn(x):
        return column(
            tf.tanh(tf.reduce_sum(x * weights, [1, 2, 3])) + x[:, 0, 1, 0] * x[:, 2, 3, 0]
        )

    x = np.random.default_rng(0).normal(size=[500, 4, 4, 1])
    y, dy = labels(fn, x)
    assert dy.shape == (500, 1, 4, 4, 1)
    assert check_labels(x, y, dy, function(fn)).ok
    [finding] = check_labels(x, y, dy.swapaxes(2, 3), function(fn)).findings
    assert finding.kind == "swapped axes"
    dy[:, :, 0, 1] *= -1
    [finding] = check_labels(x, y, dy, function(fn)).findings
    assert (finding.kind, finding.inputs) == ("wrong sign", ((0, 1, 0),))


def test_one_output_in_short(function):
    x, y, dy = data(sines)
    short = (lambda x: sines(x)[:, 0]) if function(sines) else None
    for given_y, given_dy in ((y[:, 0], dy[:, 0]), (y, dy[:, 0]), (y[:, 0], dy)):
        assert check_labels(x, given_y, given_dy, short).ok
        assert kinds(check_labels(x, given_y, -given_dy, short)) == {"wrong sign"}
    x = x[:, 0]
    assert check_labels(x, np.sin(x), np.cos(x)).ok
    assert kinds(check_labels(x, np.sin(x), -np.cos(x), np.sin)) == {"wrong sign"}


def test_tensors_keras_models_and_single_precision():
    model = keras.Sequential(
        [keras.Input([3]), keras.layers.Dense(16, "tanh"), keras.layers.Dense(2)]
    )
    x = np.random.default_rng(0).normal(size=[300, 3]).astype("float32")
    y, dy = labels(model, x)
    check = check_labels(tf.constant(x), tf.constant(y), tf.constant(dy), model)
    assert check.ok, check
    assert check == check_labels(x, y, dy, model)
    assert check_labels(x, y, dy).ok
    [finding] = check_labels(x, y, 1.05 * dy, model).findings
    assert finding.number == pytest.approx(1.05, rel=1e-2)
    # Double outside, single inside; and a NumPy function, and one that takes float32 alone.
    x, y, dy = data(styblinski_tang)
    single = [
        lambda x: np.float64(styblinski_tang(np.float32(x))),
        lambda x: tf.matmul(x**4 - 16 * x**2 + 5 * x, tf.constant([[0.5], [0.5]])),
        lambda x: 0.5 * (x**4 - 16 * x**2 + 5 * x).sum(1),
    ]
    for fn in single:
        assert check_labels(x, y, dy, fn).ok


def test_a_function_with_its_own_errors_keeps_them():
    x, y, dy = data(sines)

    def fails(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        check_labels(x, y, dy, fails)
    with pytest.raises(ValueError, match="fn returns 2 numbers a row, expected 1"):
        check_labels(x, y, dy, lambda x: x)
    for one_number in (lambda x: 1.0, lambda x: np.sum(x**2)):
        with pytest.raises(
            ValueError, match=r"fn returns shape \[\] for 2 rows, .*batch axis first"
        ):
            check_labels(x, y, dy, one_number)


def test_shapes_that_do_not_fit():
    x, y, dy = data(pair)
    for wrong, message in (
        ((x, y[1:], dy), r"y has shape \[399, 2\], expected 400 rows"),
        ((x, y, dy[1:]), r"dy has shape \[399, 2, 2\], expected 400 rows"),
        ((1.0, y, dy), r"x has shape \[\], expected B rows"),
        ((x, y, dy[:, 0]), r"dy has shape \[400, 2\], expected \[B, 2, 2\]"),
        ((x, y[:, 0], dy), r"dy has shape \[400, 2, 2\], expected \[B, 1, 2\] or \[B, 2\]"),
        ((x * np.nan, y, dy), "x has entries that are not finite"),
        ((x, y, dy * np.inf), "dy has entries that are not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            check_labels(*wrong)


def test_degenerate_data_raises_no_alarm_and_no_warning():
    x, y, dy = data(sines, 60)
    assert check_labels(x, 0 * y, 0 * dy, lambda x: 0 * sines(x)).ok
    assert check_labels(x, 0 * y, 0 * dy).ok
    assert check_labels(np.repeat(x, 2, 0), np.repeat(y, 2, 0), np.repeat(dy, 2, 0)).ok
    assert kinds(check_labels(0 * x, y, dy)) == {"cannot tell"}
    wider = np.concatenate([x, np.ones([60, 1])], 1)  # a constant input that y ignores
    assert check_labels(wider, y, np.concatenate([dy, np.zeros([60, 1, 1])], 2)).ok


def test_the_answer_depends_on_the_seed_alone():
    x, y, dy = data(styblinski_tang, 5000)
    assert check_labels(x, y, dy, seed=1) == check_labels(x, y, dy, seed=1)
    assert check_labels(x, y, dy, seed=1) != check_labels(x, y, dy, seed=2)
    assert check_labels(x, y, -dy, seed=3).findings[0].kind == "wrong sign"


def test_masked_labels_are_missing_and_masked_points_refused(function):
    x, y, dy = data(pair, 1000)
    wrong = np.random.default_rng(0).random(dy.shape) < 0.1
    masked = np.ma.masked_array(np.where(wrong, 1e6, dy), mask=wrong)
    assert check_labels(x, y, masked, function(pair)).ok
    with pytest.raises(ValueError, match="x is masked, first in row 0"):
        check_labels(np.ma.masked_array(x, mask=True), y, dy)
    with pytest.raises(ValueError, match="dy is a csr_matrix, expected a dense array"):
        check_labels(x, y, csr_matrix(dy[:, 0]))


def test_an_output_without_one_slope_is_named_as_not_judged():
    x, y, dy = data(pair, 400)
    dy[:, 0, 1] = np.nan
    dy[:, 0, 0] *= -1
    check = check_labels(x, y, dy)
    assert (check.ok, check.decided) == (True, False)
    assert check.error < 0.1  # of the other output
    assert "output 0: not judged: the slope of input 1 is missing in every row" in str(check)
    [finding] = check_labels(x, y, dy, lambda x: pair(x).numpy()).findings
    assert (finding.kind, finding.outputs) == ("wrong sign", (0,))
    dy[:, 1, 1] *= -1  # a fault of the other output has its name
    fault, rest = check_labels(x, y, dy).findings
    assert (fault.kind, fault.outputs, fault.inputs) == ("wrong sign", (1,), (1,))
    assert (rest.kind, rest.outputs) == ("cannot tell", (0,))
    dy[:, 1] *= [3, -3]  # as has one of all its slopes
    fault, rest = check_labels(x, y, dy).findings
    assert (fault.kind, fault.outputs, fault.inputs) == ("wrong scale", (1,), ())
    assert (rest.kind, rest.outputs) == ("cannot tell", (0,))


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ((slice(None), 1), "the slope of input 1 is missing in every row"),
        ((slice(5, None), 1), "5 of 400 rows have its value and all its slopes"),
        (slice(None), "its slopes are missing in every row"),
    ],
)
def test_one_output_that_is_not_judged_has_no_error(missing, reason):
    x, y, dy = data(sines)
    dy[:, 0][missing] = np.nan
    check = check_labels(x, y, dy)
    assert (check.ok, check.decided) == (True, False)
    assert np.isnan(check.error)
    assert str(check).startswith("labels not decided: there were no pairs of neighbors to compare")
    assert f"cannot tell: not judged: {reason}" in str(check)


def test_second_derivatives_are_not_taken_for_a_function():
    x = np.ones([10, 2])
    with pytest.raises(ValueError, match="got an array: of derivatives, only the first"):
        check_labels(x, x[:, 0], x, np.ones([10, 2, 2]))
