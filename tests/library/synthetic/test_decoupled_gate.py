"""DecoupledModel's data is looked at, and its weights are watched: NaN ends a fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import DecoupledModel, split
from sobolev_tf.synthetic import dense_critic

X = np.random.default_rng(0).normal(size=[32, 4]).astype("float32")
Y = np.arange(32) % 3


def decoupled(**options):
    inputs = keras.Input([4])
    hidden = keras.layers.Dense(8, "relu", name="h1")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    model = DecoupledModel(split(net, at=["h1"]), critic=dense_critic)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", "adam", loss, **options)
    return model


def spoilt(array, value, row=3):
    array = np.array(array, "float32")
    array[row] = value
    return array


@pytest.mark.parametrize(
    ("x", "y", "weight", "message"),
    [
        (spoilt(X, np.nan), Y, None, "x has NaN, first in row 3"),
        (spoilt(X, np.inf), Y, None, "x has infinity, first in row 3"),
        (X, Y, spoilt(np.ones(32), np.nan), "sample_weight has NaN, first in row 3"),
        (X, Y, spoilt(np.ones(32), -2), "sample_weight is -2 in row 3"),
        (X[:8], Y, None, "x has 8 rows and y has 32"),
        (X[:0], Y[:0], None, "there is no data"),
    ],
)
def test_arrays_that_are_not_right_are_refused(x, y, weight, message):
    model = decoupled()
    with pytest.raises(ValueError, match=f"DecoupledModel.fit: {message}"):
        model.fit(x, y, sample_weight=weight, verbose=0)
    with pytest.raises(ValueError, match=f"DecoupledModel.evaluate: {message}"):
        model.evaluate(x, y, sample_weight=weight, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, validation_data=(x, y, weight), verbose=0)


def test_a_stage_with_nan_ends_the_fit_though_the_loss_looks_well():
    data = tf.data.Dataset.from_tensor_slices((spoilt(X, np.nan), Y)).batch(8)
    with pytest.raises(ValueError, match=r"batch 0 from row 0: x has NaN, first in row 3"):
        decoupled().fit(data, verbose=0)
    model = decoupled()
    model.stages[0].layers[-1].kernel.assign(np.full([4, 8], np.nan))
    with pytest.raises(FloatingPointError, match="h1/kernel of stage 1"):
        model.fit(tf.data.Dataset.from_tensor_slices((X, Y)).batch(8), verbose=0)


def test_negative_weights_of_a_data_set_are_named():
    parts = X, Y, spoilt(np.ones(32), -1, row=9)
    data = tf.data.Dataset.from_tensor_slices(parts).batch(8)
    with pytest.raises(ValueError, match=r"batch 1 .*sample_weight is -1 in row 1"):
        decoupled().fit(data, verbose=0)


@pytest.mark.parametrize("weights", [(float("nan"), 1), (1, -1.0), (np.inf, 0)])
def test_weights_of_the_critics_loss_are_numbers_of_at_least_0(weights):
    with pytest.raises(ValueError, match="a finite number of at least 0"):
        decoupled(critic_loss_weights=weights)
