"""check: right labels pass, each fault is found and named, and too little data is said to be so."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sobolev_tf import jets
from sobolev_tf.check import check_labels

MATRIX = np.random.default_rng(5).normal(size=[4, 3])
SCALES = np.array([1e-3, 1.0, 1e4])


def column(*terms):
    return tf.stack(terms, 1)


def styblinski_tang(x):
    return 0.5 * tf.reduce_sum(x**4 - 16 * x**2 + 5 * x, 1, keepdims=True)


def rosenbrock(x):
    return column((1 - x[:, 0]) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2)


def sines(x):
    return column(tf.sin(x[:, 0]) + tf.sin(1.7 * x[:, 1]))


def linear(x):
    return x @ tf.constant(MATRIX, x.dtype)


def five(x):
    a, b, c, d, e = tf.unstack(x, axis=1)
    return column(a * b + tf.sin(c) + 0.5 * d**2 - e + tf.exp(0.3 * a))


def wide(x):
    a, b, c = tf.unstack(x / tf.constant(SCALES, x.dtype), axis=1)
    return column(5 + 1e3 * (tf.sin(a) + a * b + tf.cos(0.8 * c) * b))


def pair(x):
    a, b = tf.unstack(x, axis=1)
    return column(tf.exp(a / 2) * tf.cos(b), a * b**2)


def slopes(x):
    """Straight but for kinks where a coordinate is 0."""
    return tf.reduce_sum(tf.abs(x), 1, keepdims=True) + tf.sin(x[:, :1])


# function: its inputs, and half the width of the box that they are drawn from
FUNCTIONS = {
    styblinski_tang: (2, 5.0),
    rosenbrock: (2, 2.0),
    sines: (2, 3.0),
    linear: (4, 2.0),
    five: (5, 2.0),
    wide: (3, 2 * SCALES),
    pair: (2, 2.0),
}
CURVED = [f for f in FUNCTIONS if f is not linear]


def points(fn, count, seed):
    size, width = FUNCTIONS.get(fn, (2, 2.0))
    return np.random.default_rng(seed).uniform(-1, 1, [count, size]) * width


def labels(fn, x):
    jet = jets.jet(fn, tf.constant(x))
    return jet.value.numpy(), jet.derivatives[0].numpy()


@functools.cache
def table(fn, count, seed):
    x = points(fn, count, seed)
    return x, *labels(fn, x)


def data(fn, count=400, seed=0):
    """x, y and dy of fn, to be changed as one likes."""
    return tuple(a.copy() for a in table(fn, count, seed))


def kinds(check):
    return {f.kind for f in check.findings}


@pytest.fixture(params=[False, True], ids=["neighbours", "function"])
def function(request):
    """fn as given to the check: not at all, or itself."""
    return (lambda fn: fn) if request.param else (lambda fn: None)


@pytest.mark.parametrize("fn", FUNCTIONS)
@pytest.mark.parametrize("count", [50, 300, 2000])
def test_right_labels_pass(fn, count, function):
    for seed in range(2):
        check = check_labels(*data(fn, count, seed), function(fn), seed=seed)
        assert check.ok, check
        assert check.decided
        assert "labels agree" in str(check)


def test_right_labels_of_a_grid_pass():
    """All nearest steps have one length there, so curvature looks like a factor."""
    for count in (7, 10, 18):
        axis = np.linspace(-3, 3, count)
        x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        assert check_labels(x, *labels(sines, x)).ok


def test_too_few_points_for_their_dimensions_are_not_decided():
    x = np.random.default_rng(0).uniform(-5, 5, [300, 20])
    y, dy = labels(styblinski_tang, x)
    for given_dy in (dy, dy[::-1], -dy):
        check = check_labels(x, y, given_dy)
        assert check.ok
        assert not check.decided
        assert "cannot tell: 300 points in 20 dimensions" in str(check)
    assert check_labels(x, y, dy, styblinski_tang).decided
    assert kinds(check_labels(x, y, -dy, styblinski_tang)) == {"wrong sign"}
    for rows in (0, 3):
        assert kinds(check_labels(x[:rows], y[:rows], dy[:rows])) == {"cannot tell"}


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_wrong_signs(fn, function):
    x, y, dy = data(fn)
    everything = check_labels(x, y, -dy, function(fn))
    assert [(f.kind, f.outputs, f.inputs) for f in everything.findings] == [("wrong sign", (), ())]
    dy[:, :, 1] *= -1
    one = check_labels(x, y, dy, function(fn))
    assert [(f.kind, f.outputs, f.inputs) for f in one.findings] == [("wrong sign", (), (1,))]
    assert not one.ok
    assert "labels disagree" in str(one)
    assert "wrong sign: input 1: " in str(one)


@pytest.mark.parametrize("fn", FUNCTIONS)
@pytest.mark.parametrize("factor", [2.0, np.pi / 180])
def test_wrong_scales_are_measured(fn, factor, function):
    x, y, dy = data(fn)
    [found] = check_labels(x, y, factor * dy, function(fn)).findings
    assert (found.kind, found.outputs, found.inputs) == ("wrong scale", (), ())
    assert found.number == pytest.approx(factor, rel=0.1)
    dy[:, :, 0] *= factor
    [found] = check_labels(x, y, dy, function(fn)).findings
    assert (found.kind, found.inputs) == ("wrong scale", (0,))
    assert found.number == pytest.approx(factor, rel=0.1)
    assert ("degrees" in found.message) == (factor != 2)


def test_scaled_inputs_and_outputs(function):
    x, y, dy = data(wide, 1000)
    check = check_labels(x, y, dy * x.std(0), function(wide))
    assert kinds(check) == {"wrong scale"}
    assert [f.inputs for f in check.findings] == [(0,), (1,), (2,)]
    assert [f.number for f in check.findings] == pytest.approx(x.std(0), rel=0.05)
    assert all("scaled x" in f.message for f in check.findings)
    [found] = check_labels(x, (y - y.mean()) / y.std(), dy).findings
    assert (found.kind, found.inputs) == ("wrong scale", ())
    assert found.number == pytest.approx(y.std(), rel=0.05)
    x, y, dy = data(pair, 1000)
    dy[:, 1] *= -3
    check = check_labels(x, y, dy, function(pair))
    assert [(f.kind, f.outputs) for f in check.findings] == [
        ("wrong sign", (1,)),
        ("wrong scale", (1,)),
    ]
    assert check.findings[1].number == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_swapped_axes(fn, function):
    x, y, dy = data(fn)
    [found] = check_labels(x, y, np.roll(dy, 1, axis=2), function(fn)).findings
    assert found.kind == "swapped axes"
    assert found.number == x.shape[1] * y.shape[1]
    for wrong in [dy.swapaxes(1, 2)] * (fn is pair) + [dy[:, ::-1]] * (y.shape[1] > 1):
        assert kinds(check_labels(x, y, wrong, function(fn))) == {"swapped axes"}


@pytest.mark.parametrize("fn", CURVED)
def test_shuffled_rows(fn, function):
    x, y, dy = data(fn)
    for offset in (1, -2):
        [found] = check_labels(x, y, np.roll(dy, offset, axis=0), function(fn)).findings
        assert (found.kind, found.number) == ("shuffled rows", offset)
    shuffled = np.random.default_rng(1).permutation(dy)
    check = check_labels(x, y, shuffled, function(fn))
    if function(fn) or fn is not five:
        assert kinds(check) == {"shuffled rows"}
    else:  # 400 points in 5 dimensions: that they disagree is all that can be seen, if so much
        assert kinds(check) <= {"shuffled rows", "disagree", "cannot tell"}


def test_an_offset_of_half_the_table_needs_the_function():
    x, y, dy = data(sines)
    [found] = check_labels(x, y, np.roll(dy, 200, axis=0), sines).findings
    assert (found.kind, found.number) == ("shuffled rows", 200)


@pytest.mark.parametrize("fn", CURVED)
def test_derivatives_at_other_points(fn, function):
    x, y, _ = data(fn)
    shift = 0.1 * x.std(0) * (-1) ** np.arange(x.shape[1])
    if fn is five:
        shift[-1] = 0  # y is linear in the last input: a shift of it changes no derivative
    _, dy = labels(fn, x + shift)
    [found] = check_labels(x, y, dy, function(fn)).findings
    assert found.kind == "other points"
    assert found.number == pytest.approx(np.linalg.norm(shift / x.std(0)), rel=0.2)


def test_kinks(function):
    for seed in range(3):
        check = check_labels(*data(slopes, 600, seed), function(slopes))
        assert kinds(check) == {"kinks"}, check
        assert "labels agree, but for kinks" in str(check)


@pytest.mark.parametrize("fn", CURVED)
def test_noise(fn, function):
    x, y, dy = data(fn, 800)
    rng = np.random.default_rng(1)
    noisy = y + 0.1 * y.std(0) * rng.normal(size=y.shape)
    assert kinds(check_labels(x, noisy, dy, function(fn))) == {"noise"}
    noisy = dy + 0.3 * dy.std() * (dy.std(0) / dy.std(0).max()) * rng.normal(size=dy.shape)
    assert kinds(check_labels(x, y, noisy, function(fn))) == {"noise"}


def test_derivatives_of_something_else_disagree(function):
    x, y, _ = data(sines, 1000)
    _, dy = labels(lambda x: tf.sin(2 * x[:, :1] * x[:, 1:]), x)
    assert kinds(check_labels(x, y, dy, function(sines))) == {"disagree"}
    assert kinds(check_labels(x, y, 0 * dy, function(sines))) == {"disagree"}


def test_a_few_bad_rows(function):
    x, y, dy = data(sines, 1000)
    dy[:30] *= -1
    assert kinds(check_labels(x, y, dy, function(sines))) == {"disagree"}


def test_wrong_values_and_random_functions():
    x, y, dy = data(pair)
    y[:, 1] = y[:, 1] * 2 + 1
    [found] = check_labels(x, y, dy, pair).findings
    assert (found.kind, found.outputs) == ("wrong values", (1,))
    rng = np.random.default_rng(0)
    x, y, dy = data(sines)
    [found] = check_labels(
        x, y, dy, lambda x: sines(x) + 0.1 * rng.normal(size=[len(x), 1])
    ).findings
    assert (found.kind, "other values" in found.message) == ("noise", True)


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
    assert kinds(check) == {"wrong sign"}
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
    [found] = check_labels(x, y, dy.swapaxes(2, 3), function(fn)).findings
    assert found.kind == "swapped axes"
    dy[:, :, 0, 1] *= -1
    [found] = check_labels(x, y, dy, function(fn)).findings
    assert (found.kind, found.inputs) == ("wrong sign", ((0, 1, 0),))


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
    [found] = check_labels(x, y, 1.05 * dy, model).findings
    assert found.number == pytest.approx(1.05, rel=1e-2)
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


@settings(max_examples=10, deadline=None)
@given(
    size=st.integers(2, 6),
    outputs=st.integers(1, 3),
    seed=st.integers(0, 1000),
    where=st.integers(0, 5),
    factor=st.sampled_from([-1.0, 0.01, 0.5, 3.0, -2.0]),
)
def test_any_factor_of_a_quadratic_form_is_found(size, outputs, seed, where, factor):
    """The trapezoid is exact for quadratic forms, so neighbours tell as much as the function."""
    rng = np.random.default_rng(seed)
    form = rng.normal(size=[outputs, size, size])
    x = rng.normal(size=[200, size])
    y = np.einsum("bi,kij,bj->bk", x, form, x)
    dy = np.einsum("kij,bj->bki", form + form.swapaxes(1, 2), x)
    assert check_labels(x, y, dy).ok
    dy[:, :, where % size] *= factor
    check = check_labels(x, y, dy)
    expected = ["wrong sign"] * (factor < 0) + ["wrong scale"] * (abs(factor) != 1)
    assert [f.kind for f in check.findings] == expected
    assert all(f.inputs == (where % size,) for f in check.findings)
    assert check.findings[-1].number == pytest.approx(abs(factor) if factor != -1 else -1, rel=1e-3)
