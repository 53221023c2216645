"""Averages of weights (use_ema) and MultiOptimizer end in their own weights, or are refused."""

import keras
import numpy as np
import pytest

import sobolev_tf as st

RNG = np.random.default_rng(0)
X = RNG.normal(size=[16, 2]).astype("float32")
Y = np.sin(X)


def several(optimizer):
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(optimizer))


def averaging(**settings):
    return keras.optimizers.SGD(0.1, use_ema=True, **settings)


def decoupled(method, **optimizers):
    inputs = keras.Input([2])
    hidden = keras.layers.Dense(2, "tanh", name="h1")(inputs)
    stages = st.split(keras.Model(inputs, keras.layers.Dense(2)(hidden)), at=["h1"])
    critic = st.synthetic.dense_critic if method == "sobolev" else None
    model = st.DecoupledModel(stages, critic, method)
    model.compile(**{"optimizer": "sgd", "critic_optimizer": "sgd", "loss": "mse"} | optimizers)
    return model


@pytest.mark.parametrize("method", ["noprop", "sobolev"])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_network_whose_optimizer_trains_a_part_takes_none(method, scaled):
    optimizer = averaging()
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    with pytest.raises(ValueError, match=r"^compile: optimizer has use_ema=True, which") as error:
        decoupled(method, optimizer=optimizer)
    assert "\n" not in str(error.value)


def test_critics_take_none():
    with pytest.raises(ValueError, match=r"^compile: critic_optimizer has use_ema=True, which"):
        decoupled("sobolev", critic_optimizer=averaging())


def sobolev(optimizer):
    model = st.SobolevModel(st.nets.mlp(2, 2, hidden=[4, 4], activation="tanh"), order=0)
    model.compile(optimizer)
    return model


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(
    "build",
    [
        sobolev,
        lambda optimizer: decoupled("backprop", optimizer=optimizer, critic_optimizer=averaging()),
    ],
)
def test_where_all_weights_are_trained_they_are_their_averages(build, swap):
    model = build(averaging(ema_momentum=0.5))
    seen = []
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(model.get_weights())
    )
    swaps = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if swap else []
    model.fit(X, Y, batch_size=4, verbose=0, callbacks=[keep, *swaps])
    variables = {id(v): k for k, v in enumerate(model.weights)}
    assert len(model.trainable_variables) >= 4
    for variable in model.trainable_variables:
        average = seen[0][variables[id(variable)]]
        for weights in seen[1:]:
            average = 0.5 * (average + weights[variables[id(variable)]])
        np.testing.assert_allclose(variable, average, rtol=1e-5)


@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, several])
def test_a_layer_that_is_frozen_since_compile_is_named(wrap):
    model = sobolev(wrap(averaging()))
    model.fit(X, Y, verbose=0)
    model.net.layers[0].trainable = False
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"^SobolevModel\.fit: optimizer has use_ema=True, which"):
        model.fit(X, Y, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.compile(averaging())
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("method", ["noprop", "sobolev"])
def test_several_optimizers_must_train_all_weights(method):
    with pytest.raises(ValueError, match=r"^compile: optimizer is a MultiOptimizer, which must"):
        decoupled(method, optimizer=several(keras.optimizers.SGD(0.1)))


def test_several_optimizers_train_what_they_know():
    for model in (
        decoupled("backprop", optimizer=several(keras.optimizers.SGD(0.1))),
        decoupled("sobolev", critic_optimizer=several(keras.optimizers.SGD(0.1))),
    ):
        before = model.get_weights()
        model.fit(X, Y, verbose=0)
        assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


def test_a_stage_that_is_frozen_since_compile_is_named():
    model = decoupled("backprop", optimizer=averaging())
    model.stages[0].trainable = False
    with pytest.raises(ValueError, match=r"^DecoupledModel\.fit: optimizer has use_ema=True"):
        model.fit(X, Y, verbose=0)
