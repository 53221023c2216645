"""`adapt`: learning between z-scores, predicting in the user's units."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import SobolevModel, nets, targets
from tests.support.cases import slow
from tests.support.small import DY, X, Y, compiled, smooth, truth


@pytest.mark.parametrize("order", [1, *slow(2)])
def test_adapt_changes_the_units_and_not_the_answers(order, tmp_path):
    x = X * np.array([1.0, 10.0, 0.01], "float32") + 5
    labels = targets.tabulate(truth, x, order=order)
    model = compiled(order=order, jet_metrics=["rmse", "r2", "cosine"])
    model.adapt(tf.data.Dataset.from_tensor_slices((x, labels)).batch(7))
    model.fit(x, labels, verbose=0)
    z = (x - x.mean(0)) / x.std(0)
    np.testing.assert_allclose(model.scaling.scale_x(x), z, rtol=1e-3, atol=1e-3)
    logs = model.evaluate(x, labels, verbose=0, return_dict=True)
    jet = model.predict_jet(x)
    deviation, spread = labels[0].std(0), x.std(0)
    error = (jet.value - labels[0]) / deviation
    assert logs["value_loss"] == pytest.approx(np.mean(np.sum(error**2, 1)), rel=1e-3)
    error = (jet.derivatives[0] - labels[1]) * spread / deviation[:, None]
    assert logs["d1_loss"] == pytest.approx(np.mean(np.sum(error**2, (1, 2))), rel=1e-3)
    if order == 2:
        error = (jet.derivatives[1] - labels[2]) / deviation[:, None, None]
        error = error * spread * spread[:, None]
        assert logs["d2_loss"] == pytest.approx(np.mean(np.sum(error**2, (1, 2, 3))), rel=1e-3)
    raw = jet.derivatives[0] - labels[1]
    assert logs["d1_rmse"] == pytest.approx(np.sqrt(np.mean(raw**2)), rel=1e-3)
    np.testing.assert_allclose(model.predict(x, verbose=0), jet.value, rtol=1e-5)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    fresh = SobolevModel(smooth(), order=order)
    model.save_weights(tmp_path / "m.weights.h5")
    fresh.load_weights(tmp_path / "m.weights.h5")
    model.export(tmp_path / "saved")
    served = tf.saved_model.load(tmp_path / "saved").signatures["jet"](x=tf.constant(x))
    for other in (again, fresh):
        theirs = other.predict_jet(x)
        np.testing.assert_array_equal(theirs.value, jet.value)
        np.testing.assert_array_equal(theirs.derivatives[-1], jet.derivatives[-1])
    np.testing.assert_allclose(served["d1"], jet.derivatives[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("projection", [None, "output", "input"])
@pytest.mark.parametrize("live", [False, True])
def test_scaled_training_is_training_on_scaled_data(projection, live):
    kwargs = {"projection": projection, "seed": 0, "optimizer": keras.optimizers.SGD(0.1)}
    mean, deviation = X.mean(0), X.std(0)
    bias, spread = Y.mean(0), Y.std(0)
    by_hand = compiled(**kwargs)
    kwargs["optimizer"] = keras.optimizers.SGD(0.1)
    ours = compiled(target=truth if live else None, **kwargs)
    ours.net.set_weights(by_hand.net.get_weights())
    ours.adapt(X, None if live else (Y, DY))
    options = {"shuffle": False, "batch_size": 16, "verbose": 0}
    labels = (Y - bias) / spread, DY * deviation / spread[:, None]
    by_hand.fit((X - mean) / deviation, labels, **options)
    ours.fit(X, None if live else (Y, DY), **options)
    for a, b in zip(by_hand.net.get_weights(), ours.net.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_adapt_leaves_out_what_is_missing_and_refuses_what_has_no_end():
    y, x = Y.copy(), X.copy()
    x[:, 1] = 7  # no spread
    y[::2] = np.nan
    model = compiled(missing="nan")
    model.adapt(x, (y, DY))
    np.testing.assert_allclose(model.scaling.value_mean, y[1::2].mean(0), rtol=1e-5)
    assert model.scaling.deviation.numpy()[1] == 1
    forces = compiled()
    forces.adapt(X, {"d1": DY})
    length = np.sqrt(np.sum(np.mean(DY**2, 0) * X.std(0) ** 2, 1))
    np.testing.assert_allclose(forces.scaling.value_deviation, length, rtol=1e-4)
    endless = tf.data.Dataset.from_tensor_slices((X, (Y, DY))).repeat().batch(8)
    with pytest.raises(ValueError, match="steps="):
        model.adapt(endless)
    model.adapt(endless, steps=8)
    with pytest.raises(ValueError, match="no data"):
        model.adapt(X[:0], (Y[:0], DY[:0]))


def test_scales_travel_with_the_weights():
    model = compiled()
    model.adapt(X, (Y, DY))
    expected = model.predict(X, verbose=0)
    for other in (compiled(), keras.models.clone_model(model)):
        other.predict(X, verbose=0)  # traced before
        other.set_weights(model.get_weights())
        np.testing.assert_allclose(other.predict(X, verbose=0), expected, rtol=1e-5)
        np.testing.assert_allclose(other.predict_jet(X).value, expected, rtol=1e-5)


def test_whole_numbers_are_scaled_as_numbers():
    model = compiled()
    model.adapt(X, (Y, DY))
    whole = np.arange(12, dtype="uint8").reshape(4, 3)
    floating = model.predict(whole.astype("float32"), verbose=0)
    np.testing.assert_allclose(model.predict(whole, verbose=0), floating, rtol=1e-5)


def test_half_precision_nets_answer_in_large_units():
    half, single = (
        compiled(
            keras.Sequential(
                [keras.Input([3]), *(keras.layers.Dense(n, dtype=dtype) for n in (8, 2))]
            )
        )
        for dtype in ("mixed_float16", "float32")
    )
    for model in (half, single):
        model.adapt(X, (1e6 * Y, 1e6 * DY))
        model.net.set_weights(single.net.get_weights())
    expected = single.predict(X, verbose=0)
    error = 0.01 * expected.std()
    np.testing.assert_allclose(half.predict(X, verbose=0), expected, atol=error)
    assert np.isfinite(model.predict_jet(X).derivatives[0]).all()


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_statistics_keep_their_digits_under_a_half_precision_policy(policy):
    keras.config.set_dtype_policy(policy)
    try:
        net = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    finally:
        keras.config.set_dtype_policy("float32")
    model = compiled(net)
    model.adapt(X, (1e6 * Y, 1e6 * DY))
    np.testing.assert_allclose(model.scaling.value_mean, 1e6 * Y.mean(0), rtol=1e-5)


def test_infinity_is_refused_by_adapt():
    x = X.copy()
    x[5, 0] = np.inf
    with pytest.raises(ValueError, match="x has infinity, first in row 5"):
        compiled().adapt(x, (Y, DY))


@pytest.mark.parametrize("constant", [0.0, -3.0])
def test_constant_values_have_no_scale_to_give(constant):
    """Energies that nobody computed, beside forces: the scale is that of the forces only."""
    forces, both = compiled(), compiled()
    forces.adapt(X, {"d1": 2e3 * DY})
    both.adapt(X, (np.full_like(Y, constant), 2e3 * DY))
    np.testing.assert_allclose(
        both.scaling.value_deviation, forces.scaling.value_deviation, rtol=1e-6
    )
    np.testing.assert_allclose(both.scaling.value_mean, np.full(Y.shape[1], constant))
    flat = compiled()
    flat.adapt(X, (0 * Y, 0 * DY))
    np.testing.assert_array_equal(flat.scaling.value_deviation, 1)


def test_a_net_that_masks_padding_takes_no_adapt():
    x = np.random.default_rng(0).normal(3, 1, [8, 6, 2]).astype("float32")
    x[:, 4:] = 0
    layers = [keras.layers.Masking(0.0), keras.layers.SimpleRNN(2), keras.layers.Dense(1)]
    model = SobolevModel(keras.Sequential([keras.Input([6, 2]), *layers]))
    with pytest.raises(ValueError, match=r"SobolevModel.adapt: .*masks x at 0.0"):
        model.adapt(x, x[:, 0, :1])
    steps, other = keras.Input([6, 2], name="steps"), keras.Input([2], name="other")
    h = keras.layers.SimpleRNN(2)(keras.layers.Masking(0.0)(steps))
    net = keras.Model([steps, other], keras.layers.Dense(1)(keras.layers.Concatenate()([h, other])))
    beside = SobolevModel(net, wrt="other")
    beside.adapt([x, x[:, 0]], x[:, 0, :1])  # z-scores move the other input


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_predict_agrees_with_predict_jet_under_a_mixed_policy(policy):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=[64, 2]) + 300).astype("float32")
    y = (1e5 + 50 * rng.normal(size=[64, 1])).astype("float32")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = SobolevModel(nets.mlp(2, hidden=[8], activation="tanh"))
        model.compile("sgd")
        model.adapt(x, (y, np.ones([64, 1, 2])))
        predicted = model.predict(x, verbose=0)
        assert model.net.layers[-1].compute_dtype == policy.removeprefix("mixed_")
    finally:
        keras.config.set_dtype_policy(before)
    for values in (predicted, model.predict_on_batch(x), model(x)):
        np.testing.assert_allclose(values, model.predict_jet(x).value, atol=0.5)
