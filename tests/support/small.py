"""A function in units far from one, its table, and a small model that learns it."""

import numpy as np
import tensorflow as tf

from sobolev_tf import SobolevModel, nets, targets

RNG = np.random.default_rng(0)
X = RNG.normal(size=[64, 3]).astype("float32")
A = np.array([[1.0, -2.0, 0.5], [0.3, 0.1, 2.0]], "float32")


def truth(x):
    """[B,3] -> [B,2], in units far from one."""
    return 100 * tf.sin(tf.linalg.matvec(A, x)) + 1000


Y, DY = targets.tabulate(truth, X)


def smooth(outputs=2, inputs=3):
    return nets.mlp(inputs, outputs, hidden=[8], activation="tanh")


def compiled(net=None, optimizer="adam", **kwargs):
    names = ["order", "target", "wrt", "projection", "projections", "seed"]
    own = {name: kwargs.pop(name) for name in names if name in kwargs}
    model = SobolevModel(net or smooth(), **own)
    # Eager steps are faster than a trace; test_model.py holds both against each other.
    model.compile(optimizer, **{"run_eagerly": True} | kwargs)
    return model
