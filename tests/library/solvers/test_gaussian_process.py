"""A Gaussian process: covariances, evidence and left-out errors, against numbers by hand."""

import numpy as np
import pytest

import sobolev_tf as st
from sobolev_tf.solvers.gaussian_process import GaussianProcess, Labels, Prior
from sobolev_tf.solvers.kernel_covariance import bells, covariance, differences
from tests.support.waves import RANDOM


def random_labels(missing=True):
    entries = np.random.default_rng(1).normal(size=[6, 4])
    if missing:
        entries[1, 2], entries[3], entries[4, 0] = np.nan, np.nan, np.nan
    points = np.random.default_rng(2).normal(size=[6, 3])
    return Labels(points, entries, np.array([1.0, 2.0, 0.5]))


def test_covariances_are_derivatives_of_the_kernel():
    lengths, alpha, step = np.array([0.7, 1.3, 2.0]), 1.7, 1e-4
    a, b = RANDOM.normal(size=[2, 3])

    def kernel(a, b):
        return bells(np.sum(((a - b) / lengths) ** 2), alpha, 1)[0]

    def moved(i, sign):
        return sign * step * np.eye(3)[i - 1] * lengths if i else np.zeros(3)

    expected = np.zeros([4, 4])
    for i in range(4):
        for j in range(4):
            signs = [(p, q) for p in ([1, -1] if i else [1]) for q in ([1, -1] if j else [1])]
            total = sum(p * q * kernel(a + moved(i, p), b + moved(j, q)) for p, q in signs)
            expected[i, j] = total / (2 * step) ** ((i > 0) + (j > 0))
    found = covariance(differences(a[None], b[None], lengths), alpha)[0, :, 0]
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("missing", [False, True, "value", "d1"])
def test_the_evidence_has_the_slopes_that_finite_differences_find(missing):
    labels, logs = random_labels(missing is True), np.random.default_rng(3).normal(size=6) * 0.3
    labels = labels.without(missing) if isinstance(missing, str) else labels

    def surprise(logs):
        return GaussianProcess(labels, Prior.from_logs(logs)).surprise()

    expected = [(surprise(logs + s) - surprise(logs - s)) / 2e-5 for s in 1e-5 * np.eye(6)]
    found = GaussianProcess(labels, Prior.from_logs(logs)).surprise_gradient()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_left_out_errors_are_those_of_fits_without_the_point():
    labels, prior = random_labels(), Prior(np.ones(3), 2.0, 0.1, 0.1)
    process = GaussianProcess(labels, prior)
    # Of the given trend: it is not fitted anew.
    entries = labels.entries.copy()
    entries[:, 0] -= process.trend[0] + labels.points @ process.trend[1:]
    entries[:, 1:] -= process.trend[1:]
    gram = covariance(process.u, prior.alpha).reshape(24, 24)
    gram += np.diag(np.tile(process.noise, 6))
    own = np.zeros([6, 4], bool)
    own[0] = True
    others = labels.present.ravel() & ~own.ravel()
    solved = np.linalg.solve(gram[np.ix_(others, others)], entries.ravel()[others])
    expected = entries[0, 0] - gram[0, others] @ solved
    found = process.left_out_errors()
    assert found[0] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(found[[3, 4]]).all()
    assert np.isfinite(found[[0, 1, 2, 5]]).all()


def test_left_out_errors_can_be_those_of_trends_fitted_without_the_point():
    labels, prior = random_labels(), Prior(np.ones(3), 2.0, 0.1, 0.1)
    errors = GaussianProcess(labels, prior).left_out_errors(refit_trend=True)
    for i in (0, 5):
        rest = GaussianProcess(labels.of_rows(np.delete(np.arange(6), i)), prior)
        point = labels.points[i : i + 1]
        cross = covariance(differences(point, rest.labels.points, prior.lengths), prior.alpha)
        predicted = np.sum(cross[0, 0] * rest.readout) + rest.trend[0] + point[0] @ rest.trend[1:]
        assert errors[i] == pytest.approx(labels.entries[i, 0] - predicted, rel=1e-6)


def test_slopes_that_are_only_noise_are_left_out():
    random = np.random.default_rng(0)
    x = random.uniform(-1.7, 1.7, [16, 2])
    value, noise = np.sin(x[:, :1]) + 0.5 * x[:, 1:], random.normal(size=[16, 2])
    with pytest.warns(UserWarning, match="slopes of output 0 are left out, since values alone"):
        model = st.fit_surrogate(x, (value, noise), net="kernel")
    alone = st.fit_surrogate(x, value, net="kernel")
    assert not model.surrogate.uses_slopes.any()
    assert 0.5 < model.surrogate.slope_noise[0] < 2
    jets = [m.predict_jet(x[:5] + 0.1) for m in (model, alone)]
    np.testing.assert_allclose(jets[0].value, jets[1].value, rtol=1e-6)
    np.testing.assert_allclose(jets[0].derivatives[0], jets[1].derivatives[0], rtol=1e-5)
    stds = [m.predict_std(x[:5] + 0.1, verbose=0).value for m in (model, alone)]
    np.testing.assert_allclose(*stds, rtol=1e-5)
