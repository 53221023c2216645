"""Nets of one's own that couple the rows of a batch: one warning."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.model.coupled_rows import warn_of_coupled_rows

X = np.random.default_rng(0).uniform(-1, 1, [12, 2]).astype("float32")
Y, DY = np.sin(X).sum(1, keepdims=True), np.cos(X)


def model_of(layer, order=1):
    first = keras.layers.Dense(4, "tanh")
    net = keras.Sequential([keras.Input([2]), first, layer, keras.layers.Dense(1)])
    model = st.SobolevModel(net, order)
    model.compile("sgd")
    return model


def centered():
    return keras.layers.Lambda(lambda h: h - tf.reduce_mean(h, 0, keepdims=True))


def attention():
    return keras.layers.Lambda(lambda h: tf.nn.softmax(h @ tf.transpose(h)) @ h)


@pytest.mark.parametrize("layer", [centered, attention])
def test_a_net_that_couples_rows_is_warned_of_once(layer, recwarn):
    model = model_of(layer())
    for _ in range(2):
        model.fit(X, (Y, DY), verbose=0)
    told = [str(w.message) for w in recwarn.list if "couples the rows" in str(w.message)]
    assert len(told) == 1
    assert told[0].startswith("SobolevModel.fit: the net couples the rows")


def test_an_unbuilt_net_is_looked_at_too():
    net = keras.Sequential([keras.layers.Dense(4, "tanh"), centered(), keras.layers.Dense(1)])
    model = st.SobolevModel(net)
    model.compile("sgd")
    with pytest.warns(UserWarning, match="SobolevModel.fit: the net couples the rows"):
        model.fit(X, (Y, DY), verbose=0)


def test_full_batch_fits_warn_of_it_too():
    with pytest.warns(UserWarning, match="fit_lbfgs: the net couples the rows"):
        st.fit_lbfgs(model_of(centered()), X, (Y, DY), iterations=1, verbose=0)


@pytest.mark.parametrize(
    "layer", [keras.layers.LayerNormalization(), keras.layers.Dropout(0.5), keras.layers.Dense(4)]
)
def test_rows_of_their_own_are_not(layer, recwarn):
    model = model_of(layer)
    states = [v.numpy() for v in model.net.non_trainable_variables]
    warn_of_coupled_rows("fit", model, X)
    assert not recwarn.list
    for before, now in zip(states, model.net.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(before, now.numpy())


def test_values_only_may_couple(recwarn):
    model_of(centered(), order=0).fit(X, Y, verbose=0)
    assert not recwarn.list


def test_the_look_at_rows_leaves_the_state_of_layers_as_it_is():
    class Counter(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.calls.assign_add(1.0)
            return x

    counter = Counter()
    net = keras.Sequential([keras.Input([2]), counter, keras.layers.Dense(1)])
    counter.calls.assign(0.0)
    model = st.SobolevModel(net)
    model.compile("sgd", run_eagerly=True)
    x = np.ones([4, 2], "float32")
    model.fit(x, (x[:, :1], x[:, None]), batch_size=4, verbose=0)
    assert float(counter.calls) == 1
