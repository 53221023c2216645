"""Weights decay after a step's gradients are computed, also where TensorFlow reorders a graph."""

import keras
import numpy as np
import pytest

from sobolev_tf import DecoupledModel, SobolevModel, nets, split
from sobolev_tf.synthetic import dense_critic

X = np.random.default_rng(0).normal(size=[64, 2]).astype("float32")


def optimizer():
    return keras.optimizers.AdamW(0.5, weight_decay=0.5)


def sobolev(**options):
    model = SobolevModel(nets.mlp(2, hidden=[8], activation="tanh"))
    model.compile(optimizer(), **options)
    return model, X[:, :1] ** 2


def decoupled(method, **options):
    inputs = keras.Input([2])
    hidden = keras.layers.Dense(8, "tanh", name="h")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    model = DecoupledModel(split(net, at=["h"]), critic=dense_critic, method=method)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(), optimizer(), loss, **options)
    return model, (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize("method", [None, "critic", "sobolev"])
def test_weights_decay_after_the_gradient(method):
    def trained(**options):
        keras.utils.set_random_seed(0)
        model, y = decoupled(method, **options) if method else sobolev(**options)
        model.fit(X, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
        return model.get_weights()

    for graph, eager in zip(trained(), trained(run_eagerly=True), strict=True):
        np.testing.assert_allclose(graph, eager, atol=1e-4)
