"""A curve in two dimensions with its slopes, and a small model that learns it."""

import numpy as np
import tensorflow as tf

from sobolev_tf import SobolevModel, nets

X = np.random.default_rng(0).normal(size=[33, 2]).astype("float32")
Y = np.sin(X).sum(1, keepdims=True)
DY = np.cos(X)[:, None, :]


def compiled(order=1, optimizer="adam", net=None, **kwargs):
    names = {"loss", "loss_weights", "metrics", "missing", "jit_compile", "run_eagerly"}
    own = {k: kwargs.pop(k) for k in names & set(kwargs)}
    # Faster than a trace; where graphs are the subject, a test says so.
    own.setdefault("run_eagerly", not (own.get("jit_compile") or tf.distribute.has_strategy()))
    model = SobolevModel(net or nets.mlp(2, hidden=[8], activation="tanh"), order, **kwargs)
    model.compile(optimizer, **own)
    return model


def weights_of(model):
    return [w.numpy() for w in model.net.weights]


def assert_same_weights(a, b, **tolerance):
    for ours, theirs in zip(weights_of(a), weights_of(b), strict=True):
        np.testing.assert_allclose(ours, theirs, **tolerance)
