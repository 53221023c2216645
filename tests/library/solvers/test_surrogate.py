"""fit_surrogate: one fit for small data."""

import sys

import keras
import numpy as np
import pytest

import sobolev_tf as st
from sobolev_tf.solvers import kernel_evidence, surrogate
from sobolev_tf.solvers.jitter import jitter_against_rounding
from sobolev_tf.solvers.kernel_covariance import bells, covariance, differences
from sobolev_tf.solvers.kernel_evidence import GaussianProcess, Labels, Prior, most_probable
from sobolev_tf.solvers.surrogate import _sizes

RANDOM = np.random.default_rng(0)
LOW, HIGH = np.array([0.0, 10.0, -1.0]), np.array([1.0, 30.0, 1.0])
X, TEST = RANDOM.uniform(LOW, HIGH, [30, 3]), RANDOM.uniform(LOW, HIGH, [50, 3])


def waves(x):
    """Two outputs of three inputs in units of their own, with their gradients."""
    a, b, c = x[:, 0], x[:, 1] / 10, x[:, 2]
    value = np.stack([300 + 40 * np.sin(2 * a) * b, np.exp(c) + a * b], 1)
    gradient = [[80 * np.cos(2 * a) * b, 4 * np.sin(2 * a), 0 * a], [b, a / 10, np.exp(c)]]
    return value, np.moveaxis(np.array(gradient), -1, 0)


def error(predicted, true):
    return np.sqrt(np.mean((predicted - true) ** 2) / np.mean(true**2))


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
    model = st.fit_surrogate(x, (value, noise), net="kernel")
    alone = st.fit_surrogate(x, value, net="kernel")
    assert not model.surrogate.uses_slopes.any()
    assert 0.5 < model.surrogate.slope_noise[0] < 2
    jets = [m.predict_jet(x[:5] + 0.1) for m in (model, alone)]
    np.testing.assert_allclose(jets[0].value, jets[1].value, rtol=1e-6)
    np.testing.assert_allclose(jets[0].derivatives[0], jets[1].derivatives[0], rtol=1e-5)
    stds = [m.predict_std(x[:5] + 0.1, verbose=0).value for m in (model, alone)]
    np.testing.assert_allclose(*stds, rtol=1e-5)


def test_a_kernel_net_predicts_values_and_slopes_in_the_users_units(tmp_path):
    model = st.fit_surrogate(X, waves(X))
    value, gradient = waves(TEST)
    jet = model.predict_jet(TEST)
    assert model.surrogate.net == "kernel"
    assert model.surrogate.errors["kernel"] < 0.01
    for k in range(2):
        assert error(jet.value[:, k], value[:, k]) < 1e-3
        assert error(jet.derivatives[0][:, k], gradient[:, k]) < 1e-2
    step = 1e-3 * (HIGH - LOW)
    for i in range(3):
        up, down = (model.predict(TEST + s * step * np.eye(3)[i], verbose=0) for s in (1, -1))
        slope = (up - down) / (2 * step[i])
        np.testing.assert_allclose(jet.derivatives[0][..., i], slope, atol=1e-2, rtol=1e-3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_jet(TEST).value, jet.value)


def test_an_exported_kernel_net_answers_the_same(tmp_path):
    import tensorflow as tf

    x = np.linspace(-1, 1, 6)[:, None]
    model = st.fit_surrogate(x, {"value": x**3, "d1": 3 * x**2}, net="kernel")
    model.export(str(tmp_path / "net"))
    served = tf.saved_model.load(str(tmp_path / "net")).signatures["serving_default"]
    [answer] = [a for a in served(tf.constant(x)).values() if a.shape == (6, 1)][:1]
    np.testing.assert_allclose(answer, model.predict(x, verbose=0), atol=1e-10)


def test_the_posterior_mean_equals_that_of_a_gaussian_process_by_hand():
    x = RANDOM.uniform(-1, 1, [5, 2])
    y, dy = np.sin(x[:, :1] + x[:, 1:]), np.repeat(np.cos(x[:, :1] + x[:, 1:]), 2, 1)
    model = st.fit_surrogate(x, (y, dy), net="kernel")
    layer = model.net.get_layer("kernel_0")
    lengths, alpha = layer.lengths.numpy(), float(layer.alpha)
    z = (x - x.mean(0)) / x.std(0)
    entries = np.concatenate([(y - y.mean()) / y.std(), dy * x.std(0) / y.std()], 1)
    labels = Labels(z, entries, _sizes(entries[:, 1:]))
    prior = most_probable(labels, 0)
    np.testing.assert_allclose(prior.lengths, lengths, rtol=1e-6)
    noise = np.array([prior.value_noise, *(prior.slope_noise * labels.sizes)]) ** 2
    noise += jitter_against_rounding(15) / np.array([1.0, *lengths]) ** 2

    def gram(points, others):
        u = differences(points, others, lengths)
        units = np.array([1.0, *1 / lengths])
        blocks = covariance(u, alpha) * units[:, None, None] * units
        return blocks.reshape(3 * len(points), 3 * len(others))

    def basis(points):
        rows = [[[1, *p], [0, 1, 0], [0, 0, 1]] for p in points]
        return np.array(rows, float).reshape(-1, 3)

    inverse = np.linalg.inv(gram(z, z) + np.diag(np.tile(noise, 5)))
    h, flat = basis(z), entries.ravel()
    trend = np.linalg.solve(h.T @ inverse @ h, h.T @ inverse @ flat)
    test = RANDOM.uniform(-1, 1, [4, 2])
    zt = (test - x.mean(0)) / x.std(0)
    mean = (basis(zt) @ trend + gram(zt, z) @ inverse @ (flat - h @ trend)).reshape(4, 3)
    jet = model.predict_jet(test)
    np.testing.assert_allclose(jet.value[:, 0], mean[:, 0] * y.std() + y.mean(), atol=1e-5)
    slopes = mean[:, 1:] * y.std() / x.std(0)
    np.testing.assert_allclose(jet.derivatives[0][:, 0], slopes, atol=1e-5)


def test_missing_entries_are_left_out():
    value, gradient = waves(X)
    value[::3], gradient[1::3], gradient[2, 0, 1] = np.nan, np.nan, np.nan
    model = st.fit_surrogate(X, (value, gradient), net="kernel")
    assert error(model.predict(TEST, verbose=0), waves(TEST)[0]) < 1e-2


def test_noise_in_slopes_is_found():
    value, gradient = waves(X)
    normal = np.random.default_rng(0).normal(size=gradient.shape)
    noise = 0.1 * np.sqrt(np.mean(gradient**2, 0)) * normal
    model = st.fit_surrogate(X, (value, gradient + noise), net="kernel")
    assert np.all(model.surrogate.slope_noise > 0.03)
    assert np.all(model.surrogate.slope_noise < 0.3)
    assert model.surrogate.uses_slopes[0]
    assert error(model.predict(TEST, verbose=0), waves(TEST)[0]) < 0.02


def test_values_or_slopes_alone_will_do():
    value, gradient = waves(X)
    both = [
        st.fit_surrogate(X, value, net="kernel"),
        st.fit_surrogate(X, {"d1": gradient}, net="kernel"),
    ]
    for model in both:
        assert error(model.predict_jet(TEST).derivatives[0][:, 1], waves(TEST)[1][:, 1]) < 0.2


@pytest.mark.slow  # TensorFlow traces every fit of an MLP
def test_a_fit_of_an_mlp_is_the_same_again(monkeypatch):
    monkeypatch.setattr(surrogate, "_HIDDEN", (6,))
    monkeypatch.setattr(surrogate, "_ITERATIONS", 5)
    models = [st.fit_surrogate(X[:8], waves(X[:8]), net="mlp", seed=s) for s in (1, 1, 2)]
    first, again, other = (model.predict(TEST, verbose=0) for model in models)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


@pytest.mark.slow  # TensorFlow traces every fit of an MLP
def test_an_mlp_of_many_labels_knows_its_deviations(monkeypatch):
    monkeypatch.setattr(surrogate, "_HIDDEN", (16,))
    monkeypatch.setattr(surrogate, "_MLP_LABELS", 60)  # of 240
    value, _ = waves(X)
    model = st.fit_surrogate(X, waves(X), net="mlp")
    assert np.all(model.predict_std(TEST).value < 10 * np.std(value, 0))  # exact labels
    of_labels = model.predict_std(X, noise=False).value
    assert np.all(of_labels > 0)
    far = model.predict_std(10 * X[:1], noise=False).value
    assert np.all(far > of_labels.max(0))


def test_without_scipy_only_a_kernel_net_is_fitted_to_many_labels(monkeypatch):
    monkeypatch.setattr(surrogate, "_GOOD", 0)
    monkeypatch.setattr(surrogate, "_MLP_LABELS", 60)  # of 240
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.warns(UserWarning, match="needs SciPy: pip install .* no MLP was tried"):
        model = st.fit_surrogate(X, waves(X))
    assert model.surrogate.net == "kernel"
    with pytest.raises(ImportError, match="an MLP from more than 60 labels needs SciPy"):
        st.fit_surrogate(X, waves(X), net="mlp")


@pytest.mark.slow  # TensorFlow traces every fit of an MLP
def test_the_net_that_predicts_held_out_points_better_is_chosen(monkeypatch):
    monkeypatch.setattr(surrogate, "_HIDDEN", (16,))
    monkeypatch.setattr(surrogate, "_GOOD", 0)
    kinked = {"value": np.abs(X[:, 2:] - 0.1), "d1": np.sign(X[:, 2:] - 0.1) * [0, 0, 1]}
    model = st.fit_surrogate(X, kinked)
    errors = model.surrogate.errors
    assert sorted(errors) == ["kernel", "mlp"]
    assert model.surrogate.net == min(errors, key=errors.get)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            X,
            (waves(X)[0], waves(X)[1][:, 0]),
            r"label d1 has shape \[30, 1, 3\], expected \[B, 2, 3\]",
        ),
        (X[:, 0], waves(X)[0], r"x has shape \[30\], expected \[B, D\]"),
        (X, np.full([30, 1], np.nan), "every label is missing"),
        (X, None, "there are no labels"),
        (X, {"jvp": X[:, 0], "directions": X}, "labels are value and d1, got jvp"),
        (X[:5], waves(X)[0], "5"),
    ],
)
def test_wrong_data_are_refused_in_one_line(x, y, message):
    with pytest.raises(ValueError, match=message) as caught:
        st.fit_surrogate(x, y)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("fit_surrogate")


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="net is"):
        st.fit_surrogate(X, waves(X), net="gp")
    with pytest.raises(ValueError, match="seed"):
        st.fit_surrogate(X, waves(X), seed=-1)


def test_deviations_are_those_of_the_closed_form(tmp_path):
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, [6, 2])
    value = np.sin(2 * x[:, :1]) * x[:, 1:]
    gradient = np.stack([2 * np.cos(2 * x[:, 0]) * x[:, 1], np.sin(2 * x[:, 0])], 1)
    value[0], gradient[1, 0] = np.nan, np.nan
    model = st.fit_surrogate(x, (value, gradient), net="kernel")
    layer = model.net.get_layer("kernel_0")
    z, scale = (x - x.mean(0)) / x.std(0), np.nanstd(value)
    entries = np.concatenate([value / scale, gradient * x.std(0) / scale], 1)
    prior = most_probable(Labels(z, entries, _sizes(entries[:, 1:])), 0)
    labels = Labels(z, entries, _sizes(entries[:, 1:]))
    process = GaussianProcess(labels, prior)
    test = random.uniform(-1, 1, [4, 2])
    zt, units = (test - x.mean(0)) / x.std(0), np.array([1.0, *layer.lengths.numpy()])
    kept = process.present.ravel()
    cross = covariance(differences(zt, z, prior.lengths), prior.alpha).reshape(12, 18)[:, kept]
    basis = kernel_evidence.trend_basis(z) * units[:, None]
    basis = basis.reshape(18, 3)[kept]
    left = (kernel_evidence.trend_basis(zt) * units[:, None]).reshape(12, 3)
    gram = covariance(differences(z, z, prior.lengths), prior.alpha).reshape(18, 18)
    gram += np.diag(np.tile(process.noise + process.jitter, 6))
    factor = np.linalg.cholesky(gram[np.ix_(kept, kept)])  # an inverse would lose the digits
    basis, solved = np.linalg.solve(factor, basis), np.linalg.solve(factor, cross.T)
    left = left - solved.T @ basis
    variances = 1 - np.sum(solved**2, 0)
    variances += np.sum(left @ np.linalg.inv(basis.T @ basis) * left, 1)
    deviations = np.sqrt(process.variance * variances.reshape(4, 3)) / units * scale
    found = model.predict_std(test, verbose=0)
    np.testing.assert_allclose(found.value[:, 0], deviations[:, 0], rtol=1e-3)
    slopes = deviations[:, 1:] / x.std(0)
    np.testing.assert_allclose(found.derivatives[0][:, 0], slopes, rtol=1e-3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_std(test, verbose=0).value, found.value)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ("points.csv", "x is an array .* got 'points.csv'"),
        ({"a": X[:, :1], "b": X[:, 1:]}, "x is one array .* got a dict"),
        (None, "x is an array .* got None"),
        (X[:, None], r"x has shape \[30, 1, 3\]"),
    ],
)
def test_points_of_another_kind_are_refused(x, words):
    with pytest.raises(ValueError, match=f"fit_surrogate: {words}") as caught:
        st.fit_surrogate(x, waves(X)[0])
    assert "\n" not in str(caught.value)


def test_an_output_without_labels_is_refused():
    value, gradient = waves(X)
    value[:, 1], gradient[:, 1] = np.nan, np.nan
    with pytest.raises(ValueError, match="fit_surrogate: output 1 has no labels"):
        st.fit_surrogate(X, (value, gradient))
    first = np.arange(len(X)) > 0
    value, gradient = waves(X)
    value[first], gradient[first] = np.nan, np.nan
    with pytest.raises(ValueError, match="output 0 has no labels: all are missing, or of weight 0"):
        st.fit_surrogate(X, (value, gradient), sample_weight=first.astype("float64"))


def test_verbose_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="fit_surrogate: verbose is 0"):
        st.fit_surrogate(X, waves(X)[0], verbose="loud")


def test_a_row_of_more_weight_is_surer():
    x = np.linspace(-1, 1, 12)[:, None]
    y = np.sin(3 * x) + 0.2 * np.random.default_rng(1).normal(size=x.shape)
    plain, weighted = (
        st.fit_surrogate(x, y, net="kernel", sample_weight=np.where(np.arange(12) == 5, w, 1.0))
        for w in (1.0, 25.0)
    )
    row = x[[5]]
    std = [model.predict_std(row, verbose=0).value.item() for model in (plain, weighted)]
    assert std[1] < 0.7 * std[0]
    error = [abs(m.predict(row, verbose=0) - y[5]).item() for m in (plain, weighted)]
    assert error[1] < error[0]


@pytest.mark.parametrize("size", [1e-200, 1e-150, 1e150, 1e200])
def test_numbers_whose_squares_do_not_exist_are_refused(size):
    x = np.linspace(-1, 1, 6)[:, None]
    with pytest.raises(ValueError, match="label value has numbers of up to"):
        st.fit_surrogate(x, (size * x**2, 2 * size * x))
    with pytest.raises(ValueError, match="fit_surrogate: x has numbers of up to"):
        st.fit_surrogate(size * x, x**2)


def test_units_far_from_one_change_nothing():
    x = np.linspace(-1, 1, 6)[:, None]
    model = st.fit_surrogate(1e60 * x, (1e-60 * np.sin(3 * x), 3e-120 * np.cos(3 * x)))
    value = model.predict(np.array([[1e59]]), verbose=0)
    np.testing.assert_allclose(1e60 * value, np.sin(0.3), atol=1e-3)
