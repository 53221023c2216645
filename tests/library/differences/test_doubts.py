"""Black boxes whose differences are no derivatives."""

import numpy as np
import pytest

from sobolev_tf.targets import FiniteDifferences, tabulate

X = np.random.default_rng(0).uniform(-1, 1, [20, 2])


@pytest.mark.parametrize(
    "fn",
    [
        lambda z: np.sin(z.real).sum(1) + 0j,
        lambda z: (z * np.conj(z)).sum(1),
        lambda z: np.abs(z).sum(1) + 0j,
    ],
)
def test_functions_that_drop_imaginary_parts_are_refused(fn):
    with pytest.raises(ValueError, match="fn is not analytic"):
        tabulate(FiniteDifferences(fn, scheme="complex"), X)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_analytic_functions_pass_at_any_scale(scale):
    target = FiniteDifferences(
        lambda z: np.exp(z / scale).prod(1) * 1e-5, scheme="complex", scale=scale
    )
    y, dy = tabulate(target, scale * X)
    np.testing.assert_allclose(dy[:, 0], y / scale, rtol=1e-12)


def test_a_kink_at_some_rows_is_no_reason_to_refuse():
    def ramp(z):
        return np.where(z.real > 0, z, 0)[:, 0]

    x = np.linspace(-1, 1, 9)[:, None]  # the kink at 0 is one of the rows
    _, dy = tabulate(FiniteDifferences(ramp, scheme="complex"), x)
    assert dy[:, 0].tolist() == [0.0] * 5 + [1.0] * 4


@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize("digits", [1, 3, 5, 6])
def test_rounded_values_are_warned_of(digits, scheme):
    def fn(x):  # one output of five
        y = np.sin(x).sum(1, keepdims=True) + np.arange(5)
        y[:, 3] = np.round(y[:, 3], digits)
        return y

    with pytest.warns(UserWarning, match="mostly rounding"):
        tabulate(FiniteDifferences(fn, scheme), X)


@pytest.mark.parametrize("scheme", ["central", "forward"])
def test_noise_is_warned_of(scheme):
    rng = np.random.default_rng(0)
    with pytest.warns(UserWarning, match="mostly rounding"):
        tabulate(FiniteDifferences(lambda x: np.sin(x) + rng.normal(0, 1e-6, x.shape), scheme), X)


def test_values_of_float32_in_float64_are_warned_of():
    def fn(x):
        return np.sin(x.astype("float32")).astype("float64")

    with pytest.warns(UserWarning, match="computed in float32"):
        _, wrong = tabulate(FiniteDifferences(fn), X)
    _, right = tabulate(FiniteDifferences(lambda x: fn(x).astype("float32")), X)
    errors = [np.abs(np.einsum("bkk->bk", dy) - np.cos(X)).max() for dy in (wrong, right)]
    assert errors[1] < 1e-4 < errors[0]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: np.sin(x).sum(1),
        lambda x: np.sin(1000 * x).sum(1),
        lambda x: 1e6 + np.sin(x).sum(1),
        lambda x: np.abs(x).sum(1),
        lambda x: np.ones(len(x)),
        lambda x: np.sin(x.astype("float32")).sum(1),
        lambda x: (x**2).sum(1) * 1e-12,
        lambda x: 2 * x,
    ],
)
@pytest.mark.parametrize("scheme", ["central", "forward"])
def test_smooth_values_are_not(fn, scheme, recwarn):
    tabulate(FiniteDifferences(fn, scheme), np.concatenate([np.zeros([1, 2]), X]))
    assert not recwarn.list


def test_a_step_of_ones_own_is_trusted(recwarn):
    target = FiniteDifferences(lambda x: np.round(np.sin(x).sum(1), 6), step=1e-2)
    _, dy = tabulate(target, X)
    np.testing.assert_allclose(dy, np.cos(X), atol=2e-4)
    assert not recwarn.list


def test_masked_answers_have_no_value():
    with pytest.raises(ValueError, match="fn returned masked entries"):
        tabulate(FiniteDifferences(lambda x: np.ma.masked_greater(x.sum(1), 0.5)), X)


@pytest.mark.parametrize("scheme", ["complex", "forward", "central"])
def test_a_call_without_rows_leaves_the_check_to_the_next(scheme):
    f = FiniteDifferences(
        lambda z: np.abs(z[:, :1]) + 0j if scheme == "complex" else np.round(z[:, :1], 3),
        scheme,
        outputs=[1],
    )
    f.jet(np.zeros([0, 2]))
    x = np.random.default_rng(0).uniform(1, 2, [20, 2])
    if scheme == "complex":
        with pytest.raises(ValueError, match="fn is not analytic"):
            f.jet(x)
    else:
        with pytest.warns(UserWarning, match="fn jumps"):
            f.jet(x)
