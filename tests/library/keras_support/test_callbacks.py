"""A fit whose loss is lost ends soon, also where Keras takes several steps in one call."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.keras_support.callbacks import StopAtNaN
from sobolev_tf.synthetic import dense_critic

STEPS = 400


@pytest.mark.parametrize(
    ("steps_per_call", "expected"),
    [
        (1, [1, 2, 4, 8, 16, 32, 64]),
        (3, [3, 6, 9, 18, 33, 66]),
        (10, [10, 20, 40, 70]),
        (128, [100]),
    ],
)
def test_steps_that_are_checked(monkeypatch, steps_per_call, expected):
    callback, checked = StopAtNaN(), []
    monkeypatch.setattr(callback, "check", lambda logs: checked.append(logs["step"]))
    for epoch in range(2):
        callback.on_epoch_begin(epoch)
        for first in range(0, 100, steps_per_call):
            last = min(first + steps_per_call, 100)
            callback.on_train_batch_end(last - 1, {"step": last})
    assert checked == 2 * expected


def sobolev_model(**settings):
    model = st.SobolevModel(st.nets.mlp(2, hidden=[4], activation="softplus"), order=0)
    model.compile(keras.optimizers.SGD(1e12), **settings)
    return model


def decoupled_model(**settings):
    inputs = keras.Input([2])
    h = keras.layers.Dense(4, "softplus", name="h")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(1)(h))
    model = st.DecoupledModel(st.split(net, at=["h"]), dense_critic)
    model.compile(keras.optimizers.SGD(1e12), "adam", "mse", **settings)
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (sobolev_model, r"^SobolevModel\.fit: \w*loss became"),
        (decoupled_model, r"loss is not finite .*of stage"),
    ],
)
def test_a_lost_loss_ends_the_fit_within_a_few_calls(build, message):
    model = build(steps_per_execution=10)
    x = np.random.default_rng(0).normal(size=[8, 2]).astype("float32")
    data = tf.data.Dataset.from_tensors((x, x[:, :1])).repeat()
    with pytest.raises(FloatingPointError, match=message):
        model.fit(data, steps_per_epoch=STEPS, verbose=0)
    assert int(model.optimizer.iterations) < STEPS / 2
