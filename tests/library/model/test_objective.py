"""Losses, weights and metrics of the terms, by name."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import SobolevModel, losses, nets
from sobolev_tf.model.statistics import SMALLEST_SIZE
from tests.support.small import DY, X, Y, compiled, smooth


def test_weights_may_follow_a_schedule():
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([3], [2.0, 0.5])
    model = compiled(loss_weights=[1.0, rate])
    for _ in range(2):
        logs = model.evaluate(X, (Y, DY), verbose=0, return_dict=True)
        weight = 2.0 if model.optimizer.iterations == 0 else 0.5
        assert logs["loss"] == pytest.approx(logs["value_loss"] + weight * logs["d1_loss"])
        model.fit(X, (Y, DY), batch_size=16, verbose=0)


@pytest.mark.parametrize("weight", [0.3, lambda step: 0.3])
def test_weights_have_the_digits_of_a_float64_net(weight):
    net = nets.mlp(3, 2, hidden=[8], activation="tanh", dtype="float64")
    model = SobolevModel(net)
    model.compile(loss_weights=[0.1, weight])
    jet = model.predict_jet(X.astype("float64"))
    squares = [np.sum((jet.value - Y) ** 2), np.sum((jet.derivatives[0] - DY) ** 2)]
    expected = (0.1 * squares[0] + 0.3 * squares[1]) / len(X)
    loss = model.problem(X.astype("float64"), (Y, DY)).loss()
    assert float(loss) == pytest.approx(expected, rel=1e-13)


def test_component_weights_multiply_errors():
    weights = np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]])
    model = compiled(component_weights={"d1": weights, "value": [2.0, 1.0]})
    logs = model.evaluate(X, (Y, DY), verbose=0, return_dict=True)
    jet = model.predict_jet(X)
    error = (jet.derivatives[0] - DY) * weights
    assert logs["d1_loss"] == pytest.approx(np.mean(np.sum(error**2, (1, 2))), rel=1e-4)
    error = (jet.value - Y) * [2, 1]
    assert logs["value_loss"] == pytest.approx(np.mean(np.sum(error**2, 1)), rel=1e-4)


def test_rms_weights_make_every_component_count_alike(tmp_path):
    model = compiled(component_weights="rms")
    with pytest.raises(ValueError, match="call adapt first"):
        model.fit(X, (Y, DY), verbose=0)
    model.adapt(X, (Y, DY))
    model.fit(X, (Y, DY), verbose=0)
    logs = model.evaluate(X, (Y, DY), verbose=0, return_dict=True)
    sizes = np.sqrt(np.mean(DY**2, 0))
    scaled = sizes * np.std(X, 0) / np.std(Y, 0)[:, None]
    sizes *= np.maximum(scaled, SMALLEST_SIZE * scaled.max()) / scaled
    error = (model.predict_jet(X).derivatives[0] - DY) / sizes
    assert logs["d1_loss"] == pytest.approx(np.mean(np.sum(error**2, (1, 2))), rel=1e-3)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.evaluate(X, (Y, DY), verbose=0, return_dict=True) == pytest.approx(logs, rel=1e-4)
    for each in (model, again):  # sizes follow other labels, before and after loading
        each.adapt(X, (Y, DY * [[1, 10, 1]]))
    settled, loaded = (each.objective.components["d1"] for each in (model, again))
    np.testing.assert_array_equal(settled, loaded)


@pytest.mark.parametrize("y", [(Y, DY), Y])
def test_rms_weights_need_no_adapt_after_loading(tmp_path, y):
    model = SobolevModel(smooth())
    model.adapt(X, y)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    again, fresh = keras.models.load_model(tmp_path / "m.keras"), SobolevModel(smooth())
    fresh.load_weights(tmp_path / "m.weights.h5")
    for each in (model, again, fresh):
        each.compile("adam", component_weights="rms", run_eagerly=True)
    losses = [each.evaluate(X, y, verbose=0) for each in (model, again, fresh)]
    assert losses == [losses[0]] * 3


def test_rms_weights_of_terms_that_adapt_did_not_see_are_refused():
    model = compiled(component_weights="rms")
    model.adapt(X, Y)
    model.evaluate(X, Y, verbose=0)
    with pytest.raises(ValueError, match="needs the sizes of d1, which adapt did not see"):
        model.fit(X, (Y, DY), verbose=0)
    model.adapt(X, (Y, DY))
    model.fit(X, (Y, DY), verbose=0)


def test_an_input_that_hardly_matters_gets_no_large_weight():
    model = compiled(component_weights="rms")
    slopes = DY * [1.0, 1.0, 1e-6]
    model.adapt(X, (Y, slopes))
    scaled = np.sqrt(np.mean(slopes**2, 0)) * np.std(X, 0) / np.std(Y, 0)[:, None]
    weights = model.objective.components["d1"]
    np.testing.assert_allclose(weights.max(), 1 / (SMALLEST_SIZE * scaled.max()), rtol=1e-5)
    model.adapt(X, (Y, 0 * DY))
    np.testing.assert_array_equal(model.objective.components["d1"], np.ones_like(weights))


def test_metrics_of_every_term_have_short_names():
    model = compiled(jet_metrics=["rmse", "r2", "cosine"], metrics=["mae"])
    history = model.fit(X, (Y, DY), validation_data=(X, (Y, DY)), verbose=0).history
    own = {"loss", "value_loss", "value_rmse", "value_r2", "mae"}
    own |= {"d1_loss", "d1_rmse", "d1_r2", "d1_cosine"}
    assert set(history) == own | {f"val_{name}" for name in own}
    logs = model.evaluate(X, (Y, DY), verbose=0, return_dict=True)
    d1 = model.predict_jet(X).derivatives[0]
    error, centered = np.sum((d1 - DY) ** 2), np.sum((DY - DY.mean(0)) ** 2)
    assert logs["d1_rmse"] == pytest.approx(np.sqrt(error / DY.size), rel=1e-4)
    assert logs["d1_r2"] == pytest.approx(1 - error / centered, rel=1e-3)
    flat = d1.reshape(64, -1), DY.reshape(64, -1)
    cosine = np.sum(flat[0] * flat[1], 1) / np.prod([np.linalg.norm(f, axis=1) for f in flat], 0)
    assert logs["d1_cosine"] == pytest.approx(np.mean(cosine), rel=1e-3)
    with pytest.raises(ValueError, match="jet_metrics has 'mae'"):
        compiled(jet_metrics="mae")


def test_norms_by_sum_or_mean_and_relative_ones():
    zeros, ones = tf.zeros([2, 3, 2]), tf.ones([2, 3, 2])
    for loss, total in ((losses.SquaredNorm, 6), (losses.L1Norm, 6), (losses.Norm, 6**0.5)):
        assert float(loss()(zeros, ones)) == pytest.approx(total)
        assert float(loss(over="mean")(zeros, ones)) == pytest.approx(1)
        assert loss.from_config(loss(over="mean").get_config()).over == "mean"
    relative = losses.RelativeNorm(floor=0.5)
    assert float(relative(zeros, ones)) == pytest.approx(6**0.5 / 0.5)
    assert float(relative(2 * ones, ones)) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"over is .*'max'"):
        losses.Norm(over="max")
    with pytest.raises(ValueError, match=r"floor is .*0"):
        losses.RelativeNorm(floor=0)
    x = tf.Variable(ones)
    with tf.GradientTape() as tape:
        loss = relative(ones, x)
    assert not np.any(tape.gradient(loss, x))


def test_weights_of_examples_are_not_labels():
    model = compiled(smooth(1), target=lambda x: 0 * x[:, :1], optimizer=keras.optimizers.SGD(0.05))
    weight = np.full(64, 7.0, "float32")
    history = model.fit(X, sample_weight=weight, steps_per_epoch=50, verbose=0).history
    assert abs(model.predict(X, verbose=0)).mean() < 1
    assert "d1_loss" in history
    for y in ((None, DY), {"d1": DY, "value": None}):
        assert compiled().fit(X, y, steps_per_epoch=2, verbose=0).history["d1_loss"]
    with pytest.raises(ValueError, match=r"sample_weight has shape .*derivatives belong"):
        compiled().fit(tf.data.Dataset.from_tensor_slices((X, Y, DY[:, 0])).batch(8), verbose=0)


def test_component_weights_have_the_terms_shape():
    with pytest.raises(ValueError, match=r"component_weights of d1 have shape \[3, 2\]"):
        compiled(component_weights={"d1": np.ones([3, 2])}).fit(X, (Y, DY), verbose=0)


def test_whole_numbers_under_a_norm_have_the_values_shape():
    with pytest.raises(ValueError, match=r"label value has shape"):
        compiled().fit(X, (np.ones([64, 1], int), DY), verbose=0)
