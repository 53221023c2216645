"""fit_surrogate: one fit for small data."""

import keras
import numpy as np
import pytest

import sobolev_tf as st
from sobolev_tf.solvers import gaussian_process, surrogate
from sobolev_tf.solvers.gaussian_process import GaussianProcess, Labels
from sobolev_tf.solvers.jitter import jitter_against_rounding
from sobolev_tf.solvers.kernel_covariance import covariance, differences
from sobolev_tf.solvers.kernel_evidence import most_probable
from sobolev_tf.solvers.surrogate import _sizes
from tests.support.waves import HIGH, LOW, RANDOM, TEST, X, waves


def error(predicted, true):
    return np.sqrt(np.mean((predicted - true) ** 2) / np.mean(true**2))


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


@pytest.mark.parametrize("signs", [-1, [1, -1, 1]])
def test_slopes_of_the_wrong_sign_are_left_out(signs):
    """They are slopes of another smooth function: the values seem to be noise."""
    value, gradient = (label[:, :1] for label in waves(X))
    with pytest.warns(UserWarning, match="slopes of output 0 are left out"):
        model = st.fit_surrogate(X, (value, gradient * signs), net="kernel")
    assert model.surrogate.uses_slopes.tolist() == [False]
    alone = st.fit_surrogate(X, value, net="kernel")
    np.testing.assert_allclose(model.predict(TEST), alone.predict(TEST), atol=1e-6)


def test_there_is_no_noise_of_slopes_that_are_not_there():
    value, gradient = waves(X)
    gradient[:, 1] = np.nan
    model = st.fit_surrogate(X, (value, gradient), net="kernel")
    assert np.isnan(model.surrogate.slope_noise).tolist() == [False, True]
    assert model.surrogate.uses_slopes.tolist() == [True, False]
    alone = st.fit_surrogate(X, value, net="kernel")
    assert np.isnan(alone.surrogate.slope_noise).all()


@pytest.mark.slow  # TensorFlow traces every fit of an MLP
def test_an_mlp_does_not_learn_the_slopes_that_are_left_out():
    """The function has a kink, so that values alone leave more than 1 % of error."""
    x = np.random.default_rng(1).uniform(-1, 1, [25, 2])
    length = np.hypot(x[:, :1], x[:, 1:])
    bond = np.exp(-2 * (length - 0.6))
    value, gradient = (1 - bond) ** 2, (4 * (1 - bond) * bond * x / length)[:, None]
    with pytest.warns(UserWarning, match="slopes of output 0 are left out"):
        model = st.fit_surrogate(x, (value, -gradient))
    assert sorted(model.surrogate.errors) == ["kernel", "mlp"]
    alone = st.fit_surrogate(x, value)
    assert model.surrogate.net == alone.surrogate.net == "mlp"
    np.testing.assert_allclose(model.predict(x), alone.predict(x), rtol=1e-6)


def test_right_slopes_are_kept_where_values_are_noisy():
    value, gradient = (label[:, :1] for label in waves(X))
    noise = np.random.default_rng(0).normal(size=value.shape)
    model = st.fit_surrogate(X, (value + 0.1 * value.std() * noise, gradient), net="kernel")
    assert model.surrogate.uses_slopes.tolist() == [True]
    assert error(model.predict(TEST, verbose=0), waves(TEST)[0][:, :1]) < 0.05


def test_noise_in_slopes_is_found():
    value, gradient = waves(X)
    normal = np.random.default_rng(0).normal(size=gradient.shape)
    noise = 0.1 * np.sqrt(np.mean(gradient**2, 0)) * normal
    with pytest.warns(UserWarning, match="slopes of output 1 are left out"):
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


@pytest.mark.slow  # TensorFlow traces every fit of an MLP
def test_the_net_that_predicts_held_out_points_better_is_chosen(monkeypatch):
    monkeypatch.setattr(surrogate, "_HIDDEN", (16,))
    monkeypatch.setattr(surrogate, "_GOOD", 0)
    kinked = {"value": np.abs(X[:, 2:] - 0.1), "d1": np.sign(X[:, 2:] - 0.1) * [0, 0, 1]}
    model = st.fit_surrogate(X, kinked)
    errors = model.surrogate.errors
    assert sorted(errors) == ["kernel", "mlp"]
    assert model.surrogate.net == min(errors, key=errors.get)


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
    basis = gaussian_process.trend_basis(z) * units[:, None]
    basis = basis.reshape(18, 3)[kept]
    left = (gaussian_process.trend_basis(zt) * units[:, None]).reshape(12, 3)
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


def test_one_factor_of_all_weights_changes_nothing():
    x = np.linspace(-1, 1, 10)[:, None]
    y = np.sin(3 * x) + 0.1 * np.random.default_rng(1).normal(size=x.shape)
    models = [
        st.fit_surrogate(x, y, net="kernel", sample_weight=np.full(10, w)) for w in (1.0, 1e12)
    ]
    np.testing.assert_allclose(*(m.predict(x, verbose=0) for m in models), rtol=1e-6)
    np.testing.assert_allclose(*(m.predict_std(x, verbose=0).value for m in models), rtol=1e-6)
    noises = [m.surrogate.value_noise for m in models]
    np.testing.assert_allclose(1e6 * noises[0], noises[1], rtol=1e-6)  # of a row of weight 1


@pytest.mark.parametrize(("points", "inputs"), [(2, 1), (8, 9)])
def test_fewer_labels_than_a_linear_trend_has_coefficients_leave_deviations(points, inputs):
    x = np.random.default_rng(0).uniform(-1, 1, [points, inputs])
    y = np.sin(2 * x).sum(1)
    model = st.fit_surrogate(x, y, net="kernel")
    test = np.random.default_rng(1).uniform(-1, 1, [40, inputs])
    errors = model.predict(test, verbose=0)[:, 0] - np.sin(2 * test).sum(1)
    deviations = model.predict_std(test, verbose=0).value[:, 0]
    assert np.sqrt(np.mean((errors / deviations) ** 2)) < 5
    assert model.surrogate.errors["kernel"] > 0.1


def test_slopes_of_zero_leave_the_mean_of_noisy_values_as_sure_as_it_is():
    x = np.linspace(-1, 1, 16)[:, None]
    value = np.random.default_rng(0).permutation(np.sign(x))
    model = st.fit_surrogate(x, (value, 0 * x), net="kernel")
    found = model.predict_std(x, verbose=0).value
    # Zeros are labels too, so that the noise of values is between 0.7 and 1.
    assert (found > 0.7 / 4).all()
    assert (found < 1.1 / 4).all()
    np.testing.assert_allclose(model.predict(x, verbose=0), 0, atol=1e-3)


def test_units_far_from_one_change_nothing():
    x = np.linspace(-1, 1, 6)[:, None]
    model = st.fit_surrogate(1e60 * x, (1e-60 * np.sin(3 * x), 3e-120 * np.cos(3 * x)))
    value = model.predict(np.array([[1e59]]), verbose=0)
    np.testing.assert_allclose(1e60 * value, np.sin(0.3), atol=1e-3)


def test_progress_and_the_choice_are_shown_where_asked(capsys):
    x = np.linspace(-1, 1, 6)[:, None]
    st.fit_surrogate(x, np.sin(3 * x), verbose=1)
    shown = capsys.readouterr().out
    assert "136/136" in shown  # three starts of 12 steps, and 100 from the best
    assert "fit_surrogate: Surrogate(net='kernel'" in shown
    assert "kernel net: length scales and noise, all labels" in shown
    st.fit_surrogate(x, np.sin(3 * x))  # "auto", and no terminal
    assert not capsys.readouterr().out


def test_repeated_rows_count_as_weights():
    """Repeated labels are no proof that there is no noise, and cannot be left out one by one."""
    x = np.linspace(-1, 1, 6)[:, None]
    labels = np.sin(3 * x), 3 * np.cos(3 * x)
    labels[1][0] = np.nan
    twice = [np.concatenate([a, a[:2]]) for a in (x, *labels)]
    twice[2][6] = -np.nan  # as 0 / 0 is on many machines
    repeated = st.fit_surrogate(twice[0], tuple(twice[1:]), net="kernel")
    weighted = st.fit_surrogate(x, labels, sample_weight=np.array([2, 2, 1, 1, 1, 1]), net="kernel")
    at = np.linspace(-1, 1, 20)[:, None]
    np.testing.assert_array_equal(repeated.predict(at, verbose=0), weighted.predict(at, verbose=0))
    assert repeated.surrogate.errors == weighted.surrogate.errors
