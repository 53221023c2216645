"""Resizing is linear: derivatives are those of the matrix that it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st

L = keras.layers
METHODS = ["bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "gaussian"]
X = np.random.default_rng(0).normal(size=[4, 2]).astype("float32")


def resized(method):
    return lambda images: tf.image.resize(images, [5, 6], method)


def by_matrix(method):
    pixels = np.eye(9, dtype="float32").reshape(9, 3, 3, 1)
    matrix = tf.reshape(resized(method)(pixels), [9, 30])
    return lambda images: tf.reshape(tf.reshape(images, [-1, 9]) @ matrix, [-1, 5, 6, 1])


def net(upper):
    """A net around a function of images; another path goes by it."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input([2])
    images = L.Reshape([3, 3, 1])(L.Dense(9, "tanh")(inputs))
    beside = L.Reshape([5, 6, 1])(L.Dense(30, "tanh")(inputs))
    h = L.Lambda(upper, output_shape=(5, 6, 1))(images) + beside
    return keras.Model(inputs, L.Conv2D(1, 3, activation="tanh", padding="same")(h))


@pytest.mark.parametrize("method", METHODS)
def test_resizing_is_differentiated_as_its_matrix(method):
    ours, theirs = net(resized(method)), net(by_matrix(method))
    v = tf.constant(np.random.default_rng(1).normal(size=X.shape), tf.float32)
    for a, b in zip(st.jvp(ours, X, v), st.jvp(theirs, X, v), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    jets = [st.SobolevModel(each, order=2).predict_jet(X) for each in (ours, theirs)]
    for a, b in zip(*(jet.derivatives for jet in jets), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    gradients = []
    for each in (ours, theirs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(st.jvp(each, X, v)[1] ** 2)
        gradients.append(tape.gradient(loss, each.trainable_variables[:-1]))
    for a, b in zip(*gradients, strict=True):  # of all weights but the last bias
        assert np.abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layer", [L.UpSampling2D(2, interpolation="bilinear"), L.Resizing(6, 6)])
def test_derivatives_train_the_layers_above_a_resizing_layer(layer):
    keras.utils.set_random_seed(0)
    inputs = keras.Input([2])
    h = layer(L.Reshape([3, 3, 1])(L.Dense(9, "tanh")(inputs)))
    top = L.Dense(1)
    model = st.SobolevModel(keras.Model(inputs, top(L.Flatten()(h))))
    model.compile(keras.optimizers.SGD(0.01), loss_weights=[0.0, 1.0])
    dy = np.ones([4, 1, 2], "float32")
    before = top.kernel.numpy()
    losses = model.fit(X, (X[:, :1], dy), epochs=20, verbose=0).history["d1_loss"]
    assert np.abs(top.kernel.numpy() - before).max() > 1e-3
    assert losses[-1] < 0.9 * losses[0]


def test_an_exported_net_has_the_slopes_of_its_differences(tmp_path):
    model = st.SobolevModel(net(resized("bilinear")))
    model.export(tmp_path / "saved")
    v = np.array([[1.0, 0.0]] * 4, "float32")
    served = tf.saved_model.load(tmp_path / "saved").signatures["jvp"]
    slope = (model(X + 1e-2 * v) - model(X - 1e-2 * v)) / 2e-2
    np.testing.assert_allclose(served(x=tf.constant(X), v=tf.constant(v))["jvp"], slope, atol=1e-3)


def test_resizing_outside_of_jets_is_tensorflows():
    images = tf.constant(np.random.default_rng(0).normal(size=[2, 3, 3, 1]), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        large = tf.image.resize(images, [6, 6])
    assert tape.gradient(large, images).shape == images.shape
    np.testing.assert_array_equal(large, keras.ops.image.resize(images, [6, 6]))
    assert tf.image.resize(tf.ones([1, 2, 2, 1], tf.int32), [4, 4], "nearest").dtype == tf.int32
