"""The jitter of kernel nets: enough for Cholesky's factor, and no more."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies

import sobolev_tf as st
from sobolev_tf.solvers.gaussian_process import GaussianProcess, Labels, Prior
from sobolev_tf.solvers.jitter import jitter_against_rounding, with_enough_jitter
from sobolev_tf.solvers.kernel_covariance import bells
from sobolev_tf.solvers.kernel_posterior import KernelPosterior


def smooth(x):
    """A function of any number of inputs, with its gradient."""
    along = np.linspace(1, 0.3, x.shape[1])
    return np.sin(x @ along)[:, None], np.cos(x @ along)[:, None] * along


def test_a_factor_that_fails_is_tried_with_ten_times_the_jitter():
    tried = []

    def factor(jitter):
        tried.append(jitter)
        return np.linalg.cholesky(np.ones([2, 2]) + (jitter - 5e-13) * np.eye(2))

    _, jitter = with_enough_jitter(factor, 1e-14)
    assert tried == pytest.approx([1e-14, 1e-13, 1e-12])
    assert jitter == tried[-1]


def test_entries_that_are_not_finite_have_no_factor():
    def factor(jitter):
        raise np.linalg.LinAlgError

    with pytest.raises(np.linalg.LinAlgError, match="not finite"):
        with_enough_jitter(factor, 1e-14)
    labels = Labels(np.zeros([2, 1]), np.ones([2, 2]), np.ones(1))
    with pytest.raises(np.linalg.LinAlgError, match="not finite"):
        GaussianProcess(labels, Prior(np.ones(1), 2.0, np.inf, 1.0))


@settings(max_examples=20, deadline=None)
@given(data=strategies.data())
def test_any_points_and_any_prior_have_a_process(data):
    draw, numbers = data.draw, strategies.floats
    dims, points = draw(strategies.sampled_from([1, 2, 3, 20])), draw(strategies.integers(2, 25))
    random = np.random.default_rng(draw(strategies.integers(0, 99)))
    x = random.normal(size=[points, dims])
    apart = draw(strategies.sampled_from([None, 0, 1e-13, 1e-9, 1e-5]))
    if apart is not None:  # every point has a close neighbor
        x = np.concatenate([x, x + apart * random.normal(size=x.shape)])
    value, slopes = smooth(x)
    flat = draw(strategies.booleans())
    labels = Labels(x, np.concatenate([value, slopes], 1) * (not flat), np.ones(dims))
    alone = draw(strategies.sampled_from([None, "value", "d1"]))
    labels = labels.without(alone) if alone else labels
    lengths = 10 ** np.array(draw(strategies.lists(numbers(-1, 3), min_size=dims, max_size=dims)))
    noises = [10 ** draw(numbers(-12, 0)) for _ in range(2)]
    process = GaussianProcess(labels, Prior(lengths, 10 ** draw(numbers(-1, 5)), *noises))
    assert process.jitter <= 100 * jitter_against_rounding(len(process.flat))
    assert process.variance > 0
    assert np.all(np.isfinite(process.surprise_gradient()))
    assert np.isfinite(process.surprise())
    layer = KernelPosterior(1, len(x), dims)
    layer.assign([process])
    variances = layer._of_output(tf.constant(x), 0).numpy() / process.variance
    assert np.all(variances >= 0)
    # No prediction is less sure than the label at that place.
    most = process.label_noise + 10 * layer.jitter[0] / np.array([1, *lengths]) ** 2
    assert np.all((variances <= most * (1 + 1e-6))[process.present])


CASES = [
    "equal points",
    "other labels of equal points",
    "equal inputs",
    "slopes",
    "flat",
    "weights",
]


@pytest.mark.parametrize("case", CASES)
def test_hard_data_are_fitted(case):
    random = np.random.default_rng(0)
    x, weights = random.uniform(-1, 1, [15, 2]), None
    if case == "equal inputs":
        x[:, 1] = x[:, 0]
    elif "other" in case:
        x = np.concatenate([x, x])
    y = dict(zip(("value", "d1"), smooth(x), strict=True))
    if "other" in case:
        y["value"][:15] += 0.1
    elif case in ("equal inputs", "slopes"):
        del y["d1" if case == "equal inputs" else "value"]
    elif case == "flat":
        y = {name: 0 * label for name, label in y.items()}
    elif case == "weights":
        weights = np.where(np.arange(15) % 2, 5e-324, 1.0)  # the noise of a label overflows
    model = st.fit_surrogate(x, y, net="kernel", sample_weight=weights)
    jet, std = model.predict_jet(x), model.predict_std(x, verbose=0)
    for predicted, deviations in ((jet.value, std.value), (jet.derivatives[0], std.derivatives[0])):
        assert np.all(np.isfinite(predicted))
        assert np.all(deviations >= 0)
    off = 0.06 if "other" in case else 1e-3 if weights is None else 0.01
    if "value" in y:
        assert np.abs(jet.value - y["value"]).max() < off
    else:
        assert np.abs(jet.derivatives[0][:, 0] - y["d1"]).max() < off


def test_a_polynomial_is_fitted_to_many_digits():
    """With a jitter of 1e-11 the error is 3.9e-7, nearly all of it that jitter's."""
    random = np.random.default_rng(0)
    x, test = random.uniform(-1, 1, [100, 2]), random.uniform(-1, 1, [500, 2])

    def f(x):
        a, b = x.T
        return a**2 - a * b + 2 * b**2 + a

    a, b = x.T
    model = st.fit_surrogate(x, (f(x), np.stack([2 * a - b + 1, 4 * b - a], 1)), net="kernel")
    error = model.predict(test, verbose=0)[:, 0] - f(test)
    assert np.sqrt(np.mean(error**2)) < 2e-7 * np.std(f(test))


@pytest.mark.parametrize("convert", [np.array, tf.constant])
def test_a_kernel_with_large_alpha_keeps_its_digits(convert):
    """It is the bell exp(-s/2) but for s²/8α; a power would be wrong by α rounding units."""
    s = np.array([0.1, 1.0, 5.0])
    for bell in bells(convert(s), 1e11, 3):
        np.testing.assert_allclose(np.asarray(bell), np.exp(-s / 2), rtol=1e-10)


def solve(matrix, right):
    """Solve equations by Cholesky's factor in the precision of the arrays."""
    n, lower = len(matrix), np.zeros_like(matrix)
    for j in range(n):
        rest = matrix[j:, j] - lower[j:, :j] @ lower[j, :j]
        lower[j:, j] = rest / np.sqrt(rest[0])
    solution = right.copy()
    for j in range(n):
        solution[j] = (solution[j] - lower[j, :j] @ solution[:j]) / lower[j, j]
    for j in reversed(range(n)):
        solution[j] = (solution[j] - lower[j + 1 :, j] @ solution[j + 1 :]) / lower[j, j]
    return solution


def test_deviations_near_labels_are_those_of_more_digits():
    x = np.linspace(-1, 1, 8)[:, None]
    model = st.fit_surrogate(x, (np.exp(x), np.exp(x)), net="kernel")
    layer, long = model.posterior, np.longdouble
    length, alpha = (long(float(np.ravel(v)[0])) for v in (layer.lengths, layer.alpha))
    noise = np.array(layer.label_noise)[0] * np.array([1, length]) ** 2 + layer.jitter[0]
    centers = np.array(layer.centers)[:, 0].astype(long)
    near = x[2:4] + np.array([0, 1e-9, 1e-6, 1e-3, 0.1])
    z = ((near.ravel() - x.mean()) / x.std()).astype(long)

    def covariances(a, b):
        u = (a[:, None] - b) / length
        k0, k1, k2 = bells(u**2, alpha, 3)
        return np.block([[k0, k1 * u], [-k1 * u, k1 - k2 * u**2]])

    def basis(a):
        rows = np.stack([np.ones_like(a), a], 1)
        return np.concatenate([rows, np.stack([0 * a, 0 * a + length], 1)])

    gram = covariances(centers, centers) + np.diag(np.repeat(noise, 8).astype(long))
    cross, h = covariances(centers, z), basis(centers)
    solved = solve(gram, cross)
    left = basis(z).T - h.T @ solved
    trend = np.sum(left * solve(h.T @ solve(gram, h), left), 0)
    exact = (1 - np.sum(cross * solved, 0) + trend).astype(float)
    std = model.predict_std(near.reshape(-1, 1), verbose=0)
    scale = float(np.ravel(layer.variance)[0]) * np.var(np.exp(x))
    found = np.concatenate([std.value[:, 0] ** 2, std.derivatives[0][:, 0, 0] ** 2])
    found[10:] *= float(length) ** 2 * np.var(x)
    assert np.all(exact > 0)
    np.testing.assert_allclose(found / scale, exact, rtol=1e-4, atol=2 * layer.jitter[0])


def test_a_layer_finds_the_jitter_that_tensorflow_needs():
    x = np.random.default_rng(0).uniform(-1, 1, [30, 1])
    labels = Labels(np.concatenate([x, x]), np.ones([60, 2]), np.ones(1))
    process = GaussianProcess(labels, Prior(3 * np.ones(1), 2.0, 1e-12, 1e-12))
    process.jitter = 1e-19  # as if NumPy's rounding were that lucky
    layer = KernelPosterior(1, 60, 1)
    layer.assign([process])
    assert 1e-18 < layer.jitter[0] < 1e-12
    assert KernelPosterior.from_config(layer.get_config()).jitter == layer.jitter


def test_layers_of_older_files_have_the_jitter_of_then():
    sizes = {"outputs": 2, "units": 3, "inputs": 1}
    assert KernelPosterior.from_config(sizes).jitter == (1e-11, 1e-11)
