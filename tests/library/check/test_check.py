"""check: right labels pass, each fault is found and named, and too little data decides nothing."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sobolev_tf.check import check_labels
from tests.support.labeled import (
    CURVED,
    FUNCTIONS,
    data,
    five,
    kinds,
    labels,
    pair,
    sines,
    slopes,
    styblinski_tang,
    wide,
)


@pytest.mark.parametrize("fn", FUNCTIONS)
@pytest.mark.parametrize("count", [50, 300, 2000])
def test_right_labels_pass(fn, count, function):
    for seed in range(2):
        check = check_labels(*data(fn, count, seed), function(fn), seed=seed)
        assert check.ok, check
        assert check.decided
        assert "labels agree" in str(check)


@pytest.mark.parametrize("copies", [2, 5, 40])
def test_copies_of_points_hide_no_fault(copies):
    x = np.repeat(np.random.default_rng(0).uniform(-1, 1, [60, 2]), copies, 0)
    y, dy = labels(sines, x)
    check = check_labels(x, y, dy)
    assert check.ok
    assert check.decided
    assert [f.kind for f in check_labels(x, y, -dy).findings] == ["wrong sign"]


def test_slopes_along_an_input_that_does_not_vary_are_not_judged():
    x = np.random.default_rng(0).uniform(-1, 1, [200, 3])
    x[:, 1] = 3.0
    dy = np.stack([np.cos(x[:, 0]), np.full(200, 1e3), np.zeros(200)], 1)
    check = check_labels(x, np.sin(x[:, 0]), dy)
    assert check.ok
    assert not check.decided
    assert "input 1: not judged: the same in every row; give fn" in str(check)


def test_right_labels_of_a_grid_pass():
    """All nearest steps have one length there, so curvature looks like a factor."""
    for count in (7, 10, 18):
        axis = np.linspace(-3, 3, count)
        x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        assert check_labels(x, *labels(sines, x)).ok


def test_curvature_between_few_points_is_no_fault():
    """Each of these sets has points so far apart that trapezoids are off by tens of percent."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, (v, w) = rng.uniform(-1, 1, [20, 8]), rng.normal(size=[2, 8])
        growth = np.exp(x @ v / 2)
        assert check_labels(x, growth, growth[:, None] * v / 2).ok
        y = np.stack([x @ v, np.sin(2 * x @ w)], 1)
        dy = np.stack([np.tile(v, (20, 1)), 2 * np.cos(2 * x @ w)[:, None] * w], 1)
        assert check_labels(x, y, dy).ok


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


@pytest.mark.parametrize(("size", "count"), [(2, 10), (3, 20), (6, 20), (6, 40)])
def test_curvature_between_few_points_is_no_factor(size, count):
    """Neighbors are so far apart that curvature looks like a sign or a scale."""
    for seed in range(10):
        x = np.random.default_rng(seed).uniform(-5, 5, [count, size])
        y, dy = labels(styblinski_tang, x)
        assert check_labels(x, y, dy).ok
        bell = np.exp(-np.sum(x**2, 1) / 12)
        slopes = -x / 6 * bell[:, None]
        assert check_labels(x, bell, slopes).ok
        check = check_labels(x, bell, -slopes)
        assert not (check.ok and check.decided)


def test_values_that_are_too_noisy_are_not_decided():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, [2000, 2])
    y = np.sin(x).sum(1) + 0.5 * rng.normal(size=2000)
    check = check_labels(x, y, np.cos(x))
    assert check.ok
    assert not check.decided
    assert "too few or too far apart, or y is noisy: give fn" in str(check)


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
    [finding] = check_labels(x, y, factor * dy, function(fn)).findings
    assert (finding.kind, finding.outputs, finding.inputs) == ("wrong scale", (), ())
    assert finding.number == pytest.approx(factor, rel=0.1)
    dy[:, :, 0] *= factor
    [finding] = check_labels(x, y, dy, function(fn)).findings
    assert (finding.kind, finding.inputs) == ("wrong scale", (0,))
    assert finding.number == pytest.approx(factor, rel=0.1)
    assert ("degrees" in finding.message) == (factor != 2)


def test_scaled_inputs_and_outputs(function):
    x, y, dy = data(wide, 1000)
    check = check_labels(x, y, dy * x.std(0), function(wide))
    assert kinds(check) == {"wrong scale"}
    assert [f.inputs for f in check.findings] == [(0,), (1,), (2,)]
    assert [f.number for f in check.findings] == pytest.approx(x.std(0), rel=0.05)
    assert all("scaled x" in f.message for f in check.findings)
    [finding] = check_labels(x, (y - y.mean()) / y.std(), dy).findings
    assert (finding.kind, finding.inputs) == ("wrong scale", ())
    assert finding.number == pytest.approx(y.std(), rel=0.05)
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
    [finding] = check_labels(x, y, np.roll(dy, 1, axis=2), function(fn)).findings
    assert finding.kind == "swapped axes"
    assert finding.number == x.shape[1] * y.shape[1]
    for wrong in [dy.swapaxes(1, 2)] * (fn is pair) + [dy[:, ::-1]] * (y.shape[1] > 1):
        assert kinds(check_labels(x, y, wrong, function(fn))) == {"swapped axes"}


@pytest.mark.parametrize("fn", CURVED)
def test_shuffled_rows(fn, function):
    x, y, dy = data(fn)
    for offset in (1, -2):
        [finding] = check_labels(x, y, np.roll(dy, offset, axis=0), function(fn)).findings
        assert (finding.kind, finding.number) == ("shuffled rows", offset)
    shuffled = np.random.default_rng(1).permutation(dy)
    check = check_labels(x, y, shuffled, function(fn))
    if function(fn) or fn is not five:
        assert kinds(check) == {"shuffled rows"}
    else:  # 400 points in 5 dimensions show at most that labels disagree
        assert kinds(check) <= {"shuffled rows", "disagree", "cannot tell"}


def test_an_offset_of_half_the_table_needs_the_function():
    x, y, dy = data(sines)
    [finding] = check_labels(x, y, np.roll(dy, 200, axis=0), sines).findings
    assert (finding.kind, finding.number) == ("shuffled rows", 200)


@pytest.mark.parametrize("fn", CURVED)
def test_derivatives_at_other_points(fn, function):
    x, y, _ = data(fn)
    shift = 0.1 * x.std(0) * (-1) ** np.arange(x.shape[1])
    if fn is five:
        shift[-1] = 0  # y is linear in the last input: a shift of it changes no derivative
    _, dy = labels(fn, x + shift)
    [finding] = check_labels(x, y, dy, function(fn)).findings
    assert finding.kind == "other points"
    assert finding.number == pytest.approx(np.linalg.norm(shift / x.std(0)), rel=0.2)


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


@pytest.mark.parametrize("factor", [-1, 3, 1000])
@pytest.mark.parametrize("bad", [7, [7, 31]])
def test_single_bad_rows_are_named(factor, bad):
    x = np.random.default_rng(1).uniform(-1, 1, [100, 2])
    y = np.exp(x.sum(1))
    dy = np.stack([y, y], 1)
    dy[bad] *= factor
    check = check_labels(x, y, dy)
    assert kinds(check) == {"disagree"}
    assert "all beside the rows [" in str(check)
    assert "7" in str(check).partition("all beside the rows")[2]


def test_an_output_that_trapezoids_get_right_lends_no_kinks_to_others():
    for seed in range(10):
        x = np.random.default_rng(seed).uniform(-2, 2, [40, 2])
        a, b = x.T
        y = np.stack([np.sin(2 * a) * b, a * b], 1)
        dy = np.stack([np.stack([2 * np.cos(2 * a) * b, np.sin(2 * a)], 1), x[:, ::-1]], 1)
        assert check_labels(x, y, dy).ok


def test_wrong_values_and_random_functions():
    x, y, dy = data(pair)
    y[:, 1] = y[:, 1] * 2 + 1
    [finding] = check_labels(x, y, dy, pair).findings
    assert (finding.kind, finding.outputs) == ("wrong values", (1,))
    rng = np.random.default_rng(0)
    x, y, dy = data(sines)
    [finding] = check_labels(
        x, y, dy, lambda x: sines(x) + 0.1 * rng.normal(size=[len(x), 1])
    ).findings
    assert (finding.kind, "other values" in finding.message) == ("noise", True)


@settings(max_examples=10, deadline=None)
@given(
    size=st.integers(2, 6),
    outputs=st.integers(1, 3),
    seed=st.integers(0, 1000),
    where=st.integers(0, 5),
    factor=st.sampled_from([-1.0, 0.01, 0.5, 3.0, -2.0]),
)
def test_any_factor_of_a_quadratic_form_is_found(size, outputs, seed, where, factor):
    """The trapezoid is exact for quadratic forms, so neighbors tell as much as the function."""
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


@pytest.mark.parametrize("fault", ["random", "of another function", "in another order"])
def test_one_bad_output_among_good_ones_is_named(fault):
    rng = np.random.default_rng(0)
    x, a = rng.uniform(-1, 1, [200, 2]), rng.normal(size=[2, 3]) + 0.5
    y, dy = np.sin(2 * x @ a), 2 * np.cos(2 * x @ a)[:, :, None] * a.T
    bad = {
        "random": rng.normal(size=[200, 2]),
        "of another function": -np.sin(3 * x + 1),
        "in another order": rng.permutation(dy[:, 0]),
    }
    assert check_labels(x, y, dy).ok
    dy[:, 0] = bad[fault]
    check = check_labels(x, y, dy)
    assert not check.ok
    assert [f.outputs for f in check.findings] == [(0,)]


def test_an_output_that_varies_by_rounding_only_decides_nothing():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, [300, 2])
    y = np.stack([np.sin(x[:, 0]), 1 + 1e-7 * rng.normal(size=300), np.cos(x[:, 1])], 1)
    dy = np.zeros([300, 3, 2])
    dy[:, 0, 0], dy[:, 1], dy[:, 2, 1] = np.cos(x[:, 0]), 1e-7, -np.sin(x[:, 1])
    check = check_labels(x, y.astype("float32"), dy.astype("float32"))
    assert check.ok
    assert check.decided
