"""Compiled functions follow the net, the target and the settings: no answer of an older trace."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import (
    DecoupledModel,
    PolicyDistiller,
    Projection,
    SobolevModel,
    nets,
    split,
    synthetic,
)
from sobolev_tf.targets import FiniteDifferences, Function

X = np.random.default_rng(0).normal(size=[6, 2]).astype("float32")
Y, DY = np.sin(X).sum(1, keepdims=True), np.cos(X)[:, None]


def trained(net=None, **settings):
    model = SobolevModel(net or nets.mlp(2, hidden=[4], activation="tanh"), **settings)
    model.compile("sgd")
    model.predict_jet(X)
    model.predict(X, verbose=0)
    return model


def is_current(model):
    """Whether predict, predict_jet and evaluate all answer for the net as it is."""
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = model.net(x)
    slope = tape.gradient(value, x)
    jet = model.predict_jet(X)
    np.testing.assert_allclose(jet.value, value, atol=1e-6)
    np.testing.assert_allclose(jet.derivatives[0][:, 0], slope, atol=1e-5)
    np.testing.assert_allclose(model.predict(X, verbose=0), value, atol=1e-6)


def traced(model):
    """What a model's train function was traced to; another object where it was traced anew."""
    return model.train_function._function


def lora(net):
    net.layers[0].enable_lora(2)
    for weight in net.layers[0].trainable_weights:
        weight.assign(weight + 1)


def another_activation(net):
    net.layers[0].activation = keras.activations.sigmoid


def another_layer(net):
    net.pop()
    net.add(keras.layers.Dense(1))


def another_setting(net):
    net.layers[0].scale = 3.0


class Scaled(keras.layers.Layer):
    scale = 1.0

    def __init__(self):
        super().__init__()
        self.scale = 2.0

    def call(self, x):
        return self.scale * x**2


SURGERY = {
    "LoRA": lora,
    "activation": another_activation,
    "layer": another_layer,
    "weights": lambda net: net.set_weights([w + 1 for w in net.get_weights()]),
}


@pytest.mark.parametrize("name", SURGERY)
def test_surgery_on_the_net_reaches_every_answer(name):
    model = trained()
    SURGERY[name](model.net)
    is_current(model)


def test_a_setting_of_a_layer_reaches_every_answer():
    model = trained(keras.Sequential([keras.Input([2]), Scaled(), keras.layers.Dense(1)]))
    another_setting(model.net)
    is_current(model)


def test_what_did_not_change_is_not_traced_again():
    model = trained()
    model.fit(X, (Y, DY), verbose=0)
    functions = traced(model), model._full_jet._jet
    model.net.set_weights([w + 1 for w in model.net.get_weights()])
    model.adapt(X, (Y, DY))
    model.fit(X, (Y, DY), verbose=0)
    model.predict_jet(X)
    assert functions[0] is traced(model)
    assert functions[1] is model._full_jet._jet


def test_a_net_that_fit_builds_is_traced_once_and_followed():
    model = SobolevModel(keras.Sequential([keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]))
    model.compile("sgd")
    model.fit(X, (Y, DY), verbose=0)
    function = traced(model)
    model.fit(X, (Y, DY), verbose=0)
    assert function is traced(model)
    lora(model.net)
    is_current(model)
    model.compile("sgd")
    model.fit(X, (Y, DY), verbose=0)
    assert traced(model) is not function


def test_frozen_layers_stay_where_they_are():
    model = trained()
    model.fit(X, (Y, DY), verbose=0)
    model.net.layers[0].trainable = False
    frozen = model.net.layers[0].get_weights()[0].copy()
    free = model.net.layers[1].get_weights()[0].copy()
    model.fit(X, (Y, DY), verbose=0)
    np.testing.assert_array_equal(model.net.layers[0].get_weights()[0], frozen)
    assert np.abs(model.net.layers[1].get_weights()[0] - free).max() > 0


def test_weights_that_compile_has_not_seen_are_refused_in_one_line():
    model = trained()
    model.fit(X, (Y, DY), verbose=0)
    model.net.layers[0].enable_lora(2)
    with pytest.raises(ValueError, match=r"SobolevModel.fit: .*lora.*compile again") as caught:
        model.fit(X, (Y, DY), verbose=0)
    assert "\n" not in str(caught.value)
    model.compile("sgd")
    model.fit(X, (Y, DY), verbose=0)


def test_another_target_is_learned_from():
    model = trained(target=lambda x: x[:, :1])
    model.fit(X, verbose=0)
    model.target = lambda x: x[:, :1] + 100
    assert model.evaluate(X, verbose=0)[0] > 1e3
    function = Function(lambda x: x[:, :1])
    model.target = function
    assert model.evaluate(X, verbose=0)[0] < 1e3
    function.fn = lambda x: x[:, :1] + 100
    assert model.evaluate(X, verbose=0)[0] > 1e3
    with pytest.raises(ValueError, match=r"SobolevModel.target: target is a function"):
        model.target = 3
    with pytest.raises(ValueError, match=r"SobolevModel.target: Teacher found no SavedModel"):
        model.target = "teacher"


class Set(keras.callbacks.Callback):
    """Call a function at the beginning of each epoch."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def on_epoch_begin(self, epoch, logs=None):
        self.change(self.model, epoch)


@pytest.mark.parametrize("as_stream", [False, True])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_target_that_a_callback_sets_is_learned_from_at_once(as_stream, jit_compile):
    def another_target(model, epoch):
        model.target = lambda x: (epoch + 1.0) * tf.reduce_sum(x, 1, keepdims=True)

    model = trained(target=lambda x: x[:, :1])
    model.compile(keras.optimizers.SGD(0.0), loss=["mse", None], jit_compile=jit_compile)
    x = tf.data.Dataset.from_tensor_slices(X).batch(6) if as_stream else X
    validation = x if as_stream else (x,)
    fit = model.fit(
        x, epochs=3, validation_data=validation, callbacks=[Set(another_target)], verbose=0
    )
    value = model.predict(X, verbose=0)
    sums = X.sum(1, keepdims=True)
    expected = [np.mean((value - factor * sums) ** 2) for factor in (1, 2, 3)]
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(fit.history[name], expected, rtol=1e-5, err_msg=name)


def test_a_layer_that_a_callback_freezes_stays_where_it_is():
    weights = []

    def freeze(model, epoch):
        model.net.layers[0].trainable = epoch == 0
        weights.append(model.net.layers[0].get_weights()[0].copy())
        model.predict_jet(X)

    model = trained()
    model.fit(
        X, (Y, DY), epochs=3, validation_data=(X, (Y, DY)), callbacks=[Set(freeze)], verbose=0
    )
    weights.append(model.net.layers[0].get_weights()[0])
    assert np.abs(weights[1] - weights[0]).max() > 0
    np.testing.assert_array_equal(weights[3], weights[1])


def test_a_black_box_may_follow_under_xla():
    model = trained(target=lambda x: x[:, :1])
    model.compile("sgd", jit_compile=True)
    model.target = FiniteDifferences(lambda x: x[:, :1] ** 2)
    model.fit(tf.data.Dataset.from_tensor_slices(X).batch(3), verbose=0)
    error = model.predict_jet(X).value - X[:, :1] ** 2
    logs = model.evaluate(X, verbose=0, return_dict=True)
    assert logs["value_loss"] == pytest.approx(np.mean(error**2), rel=1e-4)


def test_another_projection_is_used():
    model = trained(projection="output", seed=0)
    model.compile("sgd", loss=[None, "mse"])
    one = model.evaluate(X, (Y, DY), verbose=0)[0]
    model.projection = Projection("output", seed=0, length=10.0)
    np.testing.assert_allclose(model.evaluate(X, (Y, DY), verbose=0)[0], 100 * one, rtol=1e-4)
    with pytest.raises(ValueError, match="another Projection only"):
        model.projection = None


@pytest.mark.parametrize("name", ["net", "order", "equation", "scaling"])
def test_what_a_model_was_made_from_is_settled(name):
    model = trained()
    with pytest.raises(ValueError, match=f"SobolevModel.{name} is fixed"):
        setattr(model, name, None)
    student, teacher = nets.mlp(4, 3, hidden=[4]), nets.mlp(4, 3, hidden=[4])
    distiller = PolicyDistiller(student, teacher)
    with pytest.raises(ValueError, match="alpha is fixed"):
        distiller.alpha = 0.5


def test_settings_of_compile_are_followed_without_compile():
    model = trained()
    model.fit(X, (Y, DY), verbose=0)
    calls = []
    model.net.layers[0].activation = lambda x: calls.append(1) or tf.tanh(x)
    model.run_eagerly = True
    model.fit(X, (Y, DY), batch_size=2, verbose=0)
    model.fit(X, (Y, DY), batch_size=2, verbose=0)
    assert len(calls) >= 6


def test_a_decoupled_model_follows_its_stages_too():
    inputs = keras.Input([2])
    hidden = keras.layers.Dense(4, "tanh", name="h1")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    model = DecoupledModel(split(net, at=["h1"]), critic=synthetic.dense_critic)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", "sgd", loss)
    labels = np.arange(6) % 3
    model.fit(X, labels, verbose=0)
    model.predict(X, verbose=0)
    function = traced(model)
    model.fit(X, labels, verbose=0)
    assert function is traced(model)
    net.get_layer("h1").activation = keras.activations.sigmoid
    np.testing.assert_allclose(model.predict(X, verbose=0), net(X), atol=1e-6)
    net.get_layer("h1").trainable = False
    frozen = net.get_layer("h1").get_weights()[0].copy()
    model.fit(X, labels, verbose=0)
    np.testing.assert_array_equal(net.get_layer("h1").get_weights()[0], frozen)
    model.diagnose_every = 1
    model.fit(X, labels, verbose=0)
    assert traced(model) is not function


def test_a_teacher_that_the_first_step_builds_is_no_change():
    """Validation used to forget the training function that Keras was about to call again."""

    def net(width):
        layers = [keras.layers.Dense(width, "tanh"), keras.layers.Dense(3)]
        return keras.Sequential([keras.Input([2]), *layers])

    model = PolicyDistiller(net(4), net(8), alpha=0.1)
    model.compile("sgd")
    data = tf.data.Dataset.from_tensor_slices(X).batch(3)
    model.fit(data, verbose=0)
    function = traced(model)
    history = model.fit(data, epochs=3, validation_data=data, verbose=0).history
    assert len(history["val_loss"]) == 3
    assert function is traced(model)
