"""Nets of float64 layers whose input is float32, or not declared: x keeps its digits."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import SobolevModel

Z = np.random.default_rng(0).uniform(-1, 1, [32, 2])
X = 300_000 + 0.01 * Z  # float32 holds none of the digits that differ
Y, DY = Z[:, :1], np.tile([[[100.0, 0.0]]], [32, 1, 1])


def float64_layers():
    return [keras.layers.Dense(8, "tanh", dtype="float64"), keras.layers.Dense(1, dtype="float64")]


def with_float32_input():
    return keras.Sequential([keras.Input([2], dtype="float32"), *float64_layers()])


def functional():
    inputs = keras.Input([2])
    outputs = inputs
    for layer in float64_layers():
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize(
    "build",
    [with_float32_input, functional, lambda: keras.Sequential(float64_layers())],
    ids=["input", "functional", "undeclared"],
)
def test_z_scores_are_computed_in_float64(build):
    model = SobolevModel(build())
    model.adapt(X, (Y, DY))
    model.compile(keras.optimizers.SGD(0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = model.fit(X, (Y, DY), 32, verbose=0).history["value_loss"][0]
    predicted = model.predict(X, verbose=0)
    by_hand = model.net((X - X.mean(0)) / X.std(0)).numpy() * Y.std() + Y.mean()
    np.testing.assert_allclose(predicted, by_hand, atol=1e-6)
    np.testing.assert_allclose(model(X), predicted, rtol=1e-12)
    np.testing.assert_allclose(model.predict_jet(X).value, predicted, rtol=1e-12)
    assert loss == pytest.approx(np.mean((predicted - Y) ** 2) / Y.var(), rel=1e-5)
    stream = tf.data.Dataset.from_tensor_slices((X, (Y, DY))).batch(32)
    streamed = model.evaluate(stream, verbose=0, return_dict=True)["value_loss"]
    assert streamed == pytest.approx(loss, rel=1e-5)


def test_exports_take_float64(tmp_path):
    model = SobolevModel(functional())
    model.adapt(X, (Y, DY))
    model.compile("sgd")
    model.fit(X, (Y, DY), 32, verbose=0)
    model.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served").signatures["jet"](x=tf.constant(X))
    np.testing.assert_allclose(served["value"], model.predict(X, verbose=0), rtol=1e-12)


def test_an_input_that_rounds_x_itself_is_warned_of():
    model = SobolevModel(functional())
    model.compile("sgd")
    with pytest.warns(UserWarning, match=r"x, component 0, .* float32 .* keras.Input of dtype"):
        model.fit(X, (Y, DY), 32, verbose=0)


def test_labels_of_a_float64_net_are_not_rounded_and_not_warned_of():
    model = SobolevModel(functional())
    model.compile("sgd")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(Z, (Y + 300_000, DY), 32, verbose=0)
