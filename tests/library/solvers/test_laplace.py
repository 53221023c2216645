"""predict_std: Bayesian linear regression by hand, its units, and where the posterior travels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.model.posterior import LaplacePosterior
from sobolev_tf.solvers import laplace
from sobolev_tf.solvers.linear import LinearProblem

RNG = np.random.default_rng(0)
NOISE = 0.3
EXPONENTS = np.arange(5)


@keras.saving.register_keras_serializable(package="tests")
class Powers(keras.layers.Layer):
    """x [B,1] -> 1, x, ..., x⁴."""

    def call(self, x):
        return tf.concat([x ** int(k) for k in EXPONENTS], 1)


def polynomial(outputs=1):
    """A net that is linear in its weights."""
    dense = keras.layers.Dense(outputs, use_bias=False, dtype="float64")
    net = keras.Sequential([keras.Input([1], dtype="float64"), Powers(dtype="float64"), dense])
    model = st.SobolevModel(net)
    model.compile(loss_weights=[1.0, 0.5], missing="nan")
    return model


def features(x):
    """The derivatives of value and slope in the weights, [B,5] each."""
    value = x**EXPONENTS
    slope = EXPONENTS * x ** np.maximum(EXPONENTS - 1, 0)
    return value, slope


def noisy_labels(outputs=1, rows=30):
    x = RNG.uniform(-2, 2, [rows, 1])
    weights = RNG.normal(size=[5, outputs])
    value, slope = (a @ weights for a in features(x))
    value, slope = (a + NOISE * RNG.normal(size=a.shape) for a in (value, slope))
    return x, value, slope[..., None]


def fitted(model, x, *labels, iterations=60):
    st.fit_least_squares(
        model, x, labels, iterations=iterations, regularization="evidence", verbose=0
    )
    return model


@pytest.fixture(scope="module")
def shared():
    """A fitted model with its data; tests that change it put it back."""
    labels = noisy_labels()
    return fitted(polynomial(), *labels, iterations=12), *labels


def by_hand(start, end, x, value, slope, points):
    """Variances of value and slope at points, and s², for one output of weights 1 and 0.5."""
    rows = [f * np.sqrt(w / len(x)) for f, w in zip(features(x), (1, 0.5), strict=True)]
    errors = np.concatenate([rows[0] @ end, rows[1] @ end]) - np.concatenate(
        [value * np.sqrt(1 / len(x)), slope * np.sqrt(0.5 / len(x))]
    )
    jacobian = np.concatenate(rows)
    known = np.isfinite(errors)
    jacobian, errors, moved = jacobian[known], errors[known], end - start
    # At the most probable weights Jᵀr = -ρ (w - w₀).
    rho = -(moved @ jacobian.T @ errors) / (moved @ moved)
    variance = (errors @ errors + rho * moved @ moved) / known.sum()
    covariance = variance * np.linalg.inv(jacobian.T @ jacobian + rho * np.eye(5))
    variances = [np.einsum("bn,nm,bm->b", f, covariance, f) for f in features(points)]
    return *variances, variance


@pytest.mark.parametrize("missing", [False, True])
def test_deviations_are_those_of_linear_regression_by_hand(missing):
    x, value, slope = noisy_labels()
    if missing:
        value[3], slope[5:20] = np.nan, np.nan
    model = polynomial()
    [start] = model.net.get_weights()
    fitted(model, x, value, slope)
    [end] = model.net.get_weights()
    points = np.linspace(-3, 3, 8)[:, None]  # not 0, where TensorFlow's x⁰ has no slope
    hand = by_hand(start[:, 0], end[:, 0], x, value[:, 0], slope[:, 0, 0], points)
    std = model.predict_std(points, batch_size=3)
    np.testing.assert_allclose(std.value[:, 0] ** 2, hand[0], rtol=1e-4)
    np.testing.assert_allclose(std.derivatives[0][:, 0, 0] ** 2, hand[1], rtol=1e-4)
    noisy = model.predict_std(points, noise=True)
    # A value's error has weight 1 / 30 in the loss, a slope's 0.5 / 30.
    np.testing.assert_allclose(noisy.value[:, 0] ** 2, hand[0] + 30 * hand[2], rtol=1e-4)
    np.testing.assert_allclose(
        noisy.derivatives[0][:, 0, 0] ** 2, hand[1] + 60 * hand[2], rtol=1e-4
    )


def test_noise_is_estimated_from_the_labels():
    x, value, slope = noisy_labels(rows=200)
    model = polynomial()
    model.compile()
    std = fitted(model, x, value, slope).predict_std(x[:1], noise=True)
    assert 0.9 * NOISE < std.value.item() < 1.1 * NOISE
    assert 0.9 * NOISE < std.derivatives[0].item() < 1.1 * NOISE


def test_a_fit_that_ends_early_knows_its_own_errors():
    """Noise is ‖r‖²/(M - γ), and the weights' prior variance ‖w - w₀‖²/γ."""
    x = np.linspace(-1, 1, 9)[:, None]
    keras.utils.set_random_seed(0)
    model = st.SobolevModel(st.nets.mlp(1, hidden=[6], activation="tanh", dtype="float64"))
    model.compile()
    start = model.net.get_weights()
    fitted(model, x, np.sin(7 * x), iterations=14)
    layer = model.posterior
    settled = np.sum(1 - (1 - layer.shares.numpy()) ** 2)
    pairs = zip(start, model.net.get_weights(), strict=True)
    length = sum(np.sum((after - before) ** 2) for before, after in pairs)
    errors = np.sum((model.predict(x, verbose=0) - np.sin(7 * x)) ** 2)
    np.testing.assert_allclose(layer.prior.numpy() ** 2, length / settled, rtol=1e-2)
    np.testing.assert_allclose(layer.value_noise.numpy(), errors / (9 - settled), rtol=1e-2)


def test_deviations_are_in_the_users_units():
    """Labels in other units change deviations by the units alone."""
    x, value, slope = noisy_labels()
    points, answers = np.linspace(-2, 2, 5)[:, None], []
    for scale_x, scale_y in ((1.0, 1.0), (100.0, 7.0)):
        keras.utils.set_random_seed(0)
        model = st.SobolevModel(st.nets.mlp(1, hidden=[4], activation="tanh", dtype="float64"))
        model.compile()
        labels = scale_y * value + 1000, slope * scale_y / scale_x
        model.adapt(scale_x * x, labels)
        fitted(model, scale_x * x, *labels, iterations=15)
        std = model.predict_std(scale_x * points)
        answers.append((std.value / scale_y, std.derivatives[0] * scale_x / scale_y))
    for one, other in zip(*answers, strict=True):
        assert np.all(one > 0)
        np.testing.assert_allclose(one, other, rtol=1e-3)


def test_outputs_are_as_sure_as_they_would_be_alone_given_the_same_labels():
    x, value, slope = noisy_labels(outputs=2)
    model = fitted(polynomial(outputs=2), x, value, slope)
    std = model.predict_std(x)
    assert std.value.shape == (30, 2)
    assert std.derivatives[0].shape == (30, 2, 1)
    np.testing.assert_allclose(std.value[:, 0], std.value[:, 1], rtol=1e-6)  # the same J


def test_deviations_follow_finite_differences_of_the_net():
    """Of a net of two layers: J of value and slope by differences, s²/ρ and V from the layer."""
    x = RNG.uniform(-1, 1, [6, 2])
    y, dy = x[:, :1] ** 2 + x[:, 1:], np.stack([2 * x[:, 0], np.ones(6)], 1)
    model = st.SobolevModel(st.nets.mlp(2, hidden=[5], activation="tanh", dtype="float64"))
    model.compile()
    fitted(model, x, y, dy, iterations=20)
    point, step = np.array([[1.5, -1.2]]), 1e-5
    std, layer = model.predict_std(point), model.posterior
    weights, derivatives = model.net.get_weights(), []
    for variable in weights:
        for index in np.ndindex(variable.shape):
            ends = []
            for sign in (1, -1):
                variable[index] += sign * step
                model.net.set_weights(weights)
                jet = model.predict_jet(point)
                ends.append(np.concatenate([jet.value.ravel(), jet.derivatives[0].ravel()]))
                variable[index] -= sign * step
            derivatives.append((ends[0] - ends[1]) / (2 * step))
    jacobian = np.stack(derivatives, 1)  # [3,N]
    axes, shares = layer.axes.numpy(), layer.shares.numpy()
    left = jacobian - (jacobian @ axes * shares) @ axes.T
    expected = np.linalg.norm(left, axis=1) * layer.prior.numpy()
    found = np.concatenate([std.value.ravel(), std.derivatives[0].ravel()])
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("rows", [4, 20])
def test_settled_directions_are_the_inverse_of_the_normal_matrix(rows):
    jacobian, rho = RNG.normal(size=[rows, 9]), 0.3
    axes, shares = laplace.settled_directions(LinearProblem(np.ones(rows), jacobian), rho)
    half = np.eye(9) - axes * shares @ axes.T
    expected = np.linalg.inv(jacobian.T @ jacobian + rho * np.eye(9))
    np.testing.assert_allclose(half @ half / rho, expected, rtol=1e-5, atol=1e-5)


def test_the_posterior_travels_in_files_and_exports(tmp_path, shared):
    model, x, _, _ = shared
    std = model.predict_std(x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_std(x).value, std.value)
    assert loaded.count_params() == model.count_params()
    loaded.export(tmp_path / "saved")
    answer = tf.saved_model.load(tmp_path / "saved").signatures["std"](x=tf.constant(x))
    np.testing.assert_allclose(answer["value"], std.value, rtol=1e-10)
    np.testing.assert_allclose(answer["d1"], std.derivatives[0], rtol=1e-10)


def test_data_sets_are_taken_and_no_rows_are_refused(shared):
    model, x, value, _ = shared
    data = tf.data.Dataset.from_tensor_slices((x, value)).batch(7)
    np.testing.assert_allclose(
        model.predict_std(data).value, model.predict_std(x, batch_size=30).value, rtol=1e-9
    )
    with pytest.raises(ValueError, match=r"predict_std: x has 0 rows"):
        model.predict_std(x[:0])


def test_a_model_without_a_posterior_is_refused():
    x, value, slope = noisy_labels()
    model = polynomial()
    with pytest.raises(ValueError, match="predict_std: the model has no posterior; fit_surrogate"):
        model.predict_std(x)
    st.fit_least_squares(model, x, (value, slope), iterations=2, verbose=0)
    with pytest.raises(ValueError, match="no posterior"):
        model.predict_std(x)


def test_a_posterior_of_other_weights_is_refused(tmp_path, shared):
    model, x, value, slope = shared
    before, std = model.net.get_weights(), model.predict_std(x)
    model.net.set_weights([weights + 1e-9 for weights in before])
    with pytest.raises(ValueError, match="weights or the scaling have changed since"):
        model.predict_std(x)
    model.export(tmp_path / "saved")
    assert "std" not in tf.saved_model.load(tmp_path / "saved").signatures
    model.net.set_weights(before)
    np.testing.assert_array_equal(model.predict_std(x).value, std.value)
    model.adapt(x, (value, slope))
    with pytest.raises(ValueError, match="weights or the scaling have changed since"):
        model.predict_std(x)
    model.scaling.set([0], [1], [0], [1])
    np.testing.assert_array_equal(model.predict_std(x).value, std.value)


def test_a_copy_with_the_same_weights_has_no_posterior_of_its_own(shared):
    model, x, _, _ = shared
    copy = st.SobolevModel.from_config(model.get_config())
    copy.net.set_weights(model.net.get_weights())
    assert isinstance(copy.posterior, LaplacePosterior)
    with pytest.raises(ValueError, match="have changed since"):
        copy.predict_std(x)


def test_folds_scale_deviations_by_the_errors_at_rows_left_out():
    """Against fits of the same parts, one by one."""
    x, value, slope = noisy_labels(rows=10)
    value[2] = np.nan
    model = polynomial()
    start, squares = model.net.get_weights(), []
    for left_out in np.array_split(np.random.default_rng(0).permutation(10), 2):
        kept = np.setdiff1d(np.arange(10), left_out)
        model.net.set_weights(start)
        fitted(model, x[kept], value[kept], slope[kept])
        jet = model.predict_jet(x[left_out])
        std = model.predict_std(x[left_out], noise=True)
        squares += [((jet.value - value[left_out]) / std.value).ravel() ** 2]
        squares += [((jet.derivatives[0] - slope[left_out]) / std.derivatives[0]).ravel() ** 2]
    scale = np.sqrt(np.nanmean(np.concatenate(squares)))
    model.net.set_weights(start)
    std = fitted(model, x, value, slope).predict_std(x, noise=True)
    weights = model.net.get_weights()
    model.net.set_weights(start)
    st.fit_least_squares(
        model, x, (value, slope), iterations=60, regularization="evidence", folds=2, verbose=0
    )
    np.testing.assert_array_equal(model.net.get_weights(), weights)
    scaled = model.predict_std(x, noise=True)
    np.testing.assert_allclose(scaled.value, scale * std.value, rtol=1e-3)
    np.testing.assert_allclose(scaled.derivatives[0], scale * std.derivatives[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"folds": 1, "regularization": "evidence"}, "folds is 0, or between 2 and 30 rows, got 1"),
        ({"folds": 31, "regularization": "evidence"}, "between 2 and 30 rows, got 31"),
        ({"folds": 3}, 'folds=3 needs regularization="evidence"'),
    ],
)
def test_folds_that_cannot_be_are_refused(options, error):
    x, value, slope = noisy_labels()
    with pytest.raises(ValueError, match=error):
        st.fit_least_squares(polynomial(), x, (value, slope), verbose=0, **options)


def test_what_predict_std_takes_is_looked_at():
    x = np.linspace(-1, 1, 6)[:, None]
    model = polynomial()
    model.compile("sgd", missing="nan")
    one_label = np.where(np.arange(6)[:, None] == 2, x, np.nan)
    evidence = {"regularization": "evidence", "iterations": 2, "verbose": 0}
    with pytest.raises(ValueError, match="folds=3 finds no labels that can be left out"):
        st.fit_least_squares(model, x, one_label, folds=3, **evidence)
    st.fit_least_squares(model, x, x**2, **evidence)
    for options, words in (({"noise": "yes"}, "noise is True or"), ({"steps": 1.5}, "steps is a")):
        with pytest.raises(ValueError, match=f"SobolevModel.predict_std: {words}"):
            model.predict_std(x, **options)
    assert model.predict_std(x, batch_size=2, steps=2, verbose=0).value.shape == (4, 1)


@pytest.mark.parametrize("folds", [0, 3])
def test_first_weights_that_fit_every_label_leave_no_deviation(folds):
    net = keras.Sequential(
        [keras.Input([1], dtype="float64"), keras.layers.Dense(1, dtype="float64")]
    )
    model = st.SobolevModel(net)
    model.compile("adam")
    x = np.linspace(-1, 1, 6)[:, None]
    y = model.predict(x, verbose=0)
    st.fit_least_squares(model, x, y, regularization="evidence", folds=folds, verbose=0)
    np.testing.assert_array_equal(model.predict_std(x, verbose=0).value, 0)
