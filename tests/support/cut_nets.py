"""Small networks to cut, data for them, and a `DecoupledModel` of one, ready to train."""

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf.synthetic import DecoupledModel, dense_critic, split

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CUTS = ["first", "second"]
OPTIONS = ("gradient_target", "diagnose_every", "placement")


def tanh_net():
    inputs = keras.Input([4])
    h = keras.layers.Dense(6, "tanh", name="first")(inputs)
    h = keras.layers.Dense(5, "tanh", name="second")(h)
    return keras.Model(inputs, keras.layers.Dense(3, name="third")(h))


def conv_net(batch_norm=True):
    h = inputs = keras.Input([8, 8, 3])
    for k, name in enumerate(CUTS):
        h = keras.layers.Conv2D(4 + k, 3, padding="same", use_bias=False)(h)
        if batch_norm:
            h = keras.layers.BatchNormalization()(h)
        h = keras.layers.ReLU(name=name)(h)
    h = keras.layers.GlobalAveragePooling2D()(h)
    return keras.Model(inputs, keras.layers.Dense(3)(h))


def images(n=24, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 8, 8, 3)).astype(dtype), rng.integers(0, 3, n)


def points(n=7):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)), rng.integers(0, 3, n)


def copied(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def compiled(net, method="sobolev", critic=dense_critic, rate=1.0, critic_rate=1.0, **kwargs):
    options = {k: kwargs.pop(k) for k in list(kwargs) if k in OPTIONS}
    model = DecoupledModel(split(net, at=CUTS), critic, method, **options)
    model.compile(
        optimizer=keras.optimizers.SGD(rate),
        critic_optimizer=keras.optimizers.SGD(critic_rate),
        # Built here: a loss keeps the float type of its birth.
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # Faster than a trace; test_decoupled_keras.py compares both.
        **{"run_eagerly": not tf.distribute.has_strategy()} | kwargs,
    )
    return model
