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
        (X, Y, np.ones([32, 2]), r"sample_weight has shape \[32, 2\], expected \[B\]"),
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
    with pytest.raises(ValueError, match=r"x \(batch 0\) has NaN, first in row 3"):
        decoupled().fit(data, verbose=0)
    model = decoupled()
    model.stages[0].layers[-1].kernel.assign(np.full([4, 8], np.nan))
    with pytest.raises(FloatingPointError, match="h1/kernel of stage 1"):
        model.fit(tf.data.Dataset.from_tensor_slices((X, Y)).batch(8), verbose=0)


def test_negative_weights_of_a_data_set_are_named():
    parts = X, Y, spoilt(np.ones(32), -1, row=9)
    data = tf.data.Dataset.from_tensor_slices(parts).batch(8)
    with pytest.raises(ValueError, match=r"sample_weight \(batch 1\) is -1 in row 9"):
        decoupled().fit(data, verbose=0)


@pytest.mark.parametrize("weights", [(float("nan"), 1), (1, -1.0), (np.inf, 0)])
def test_weights_of_the_critics_loss_are_numbers_of_at_least_0(weights):
    with pytest.raises(ValueError, match="a finite number of at least 0"):
        decoupled(critic_loss_weights=weights)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.where(Y == 1, -1, Y), "y is -1 in row 1, .*: whole numbers from 0 to 2"),
        (Y + 1, "y is 3 in row 2"),
        (Y[:, None] + 0.5, "y is 0.5 in row 0"),
        (np.eye(3)[Y], r"y has shape \[32, 3\], and the loss takes class numbers \[B\]: pass"),
    ],
)
def test_labels_are_class_numbers(y, message):
    model = decoupled(run_eagerly=True)
    for run in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            run(X, y, verbose=0)
    with pytest.raises(ValueError, match=f"validation: {message}"):
        model.fit(X, Y, validation_data=(X, y), verbose=0)


def test_a_class_that_the_loss_ignores_is_let_in():
    model = decoupled(run_eagerly=True)
    sparse = keras.losses.SparseCategoricalCrossentropy
    model.compile("sgd", "adam", sparse(from_logits=True, ignore_class=-1), run_eagerly=True)
    assert np.isfinite(model.evaluate(X, np.where(Y == 1, -1, Y), verbose=0)).all()


@pytest.mark.parametrize("eager", [True, False])
def test_a_wrong_class_in_a_data_set_is_one_line(eager):
    model = decoupled(run_eagerly=eager)
    with pytest.raises(ValueError, match="label value of 3 which is outside") as caught:
        model.fit(tf.data.Dataset.from_tensor_slices((X, Y + 1)).batch(8), verbose=0)
    assert "\n" not in str(caught.value)


def test_an_optimizer_is_of_one_model():
    optimizer = keras.optimizers.SGD(0.1)
    model = decoupled()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match="optimizer and critic_optimizer are one object"):
        model.compile(optimizer, optimizer, loss)
    model.compile(optimizer, "adam", loss)
    with pytest.raises(ValueError, match=r"compile: the weight .* call compile again, with a new"):
        decoupled().compile(optimizer, "adam", loss)
    with pytest.raises(ValueError, match=r"compile: the weight .* belongs to another model"):
        decoupled().compile("sgd", optimizer, loss)


def test_a_stage_that_is_unfrozen_needs_compile():
    model = decoupled()
    model.stages[0].trainable = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", "adam", loss, run_eagerly=True)
    model.fit(X, Y, verbose=0)
    model.stages[0].trainable = True
    with pytest.raises(ValueError, match="fit: the weight 'h1/kernel' is new since `compile`"):
        model.fit(X, Y, verbose=0)


def test_batches_of_more_than_three_parts_are_refused():
    model, message = decoupled(run_eagerly=True), "a batch has 4 parts, expected x,"
    data = tf.data.Dataset.from_tensor_slices((X, Y, Y, Y)).batch(8)
    for run in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            run(data, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, validation_data=(X, Y, Y, Y), verbose=0)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y[:3], r"y has shape \[3\], and the network's outputs \[B, 3\]: mean_squared_error"),
        (Y[:3, None], r"y has shape \[3, 1\], and"),
        ({"y": np.eye(3)}, "y is one array"),
    ],
)
def test_labels_that_would_broadcast_over_the_outputs_are_refused(y, message):
    model = decoupled()
    model.compile("sgd", "adam", "mse", run_eagerly=True)
    data = tf.data.Dataset.from_tensors((X[:3], y))
    for run in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            run(data, verbose=0)
