"""Layers times what is asked of them: right numbers, against float64 differences, or one line."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from tests.support.cases import slow

D = "float64"
L = keras.layers
RNG = np.random.default_rng(0)
ROWS = 4


def net(shape, *layers):
    return keras.Sequential([keras.Input(shape, dtype=D), *layers, L.Dense(1, dtype=D)])


def dense(units=3):
    return L.Dense(units, "tanh", dtype=D)


def convolution(size=2):
    return L.Conv2D(2, size, activation="tanh", dtype=D)


def attention():
    x = keras.Input([3, 2], dtype=D)
    h = L.Flatten(dtype=D)(L.MultiHeadAttention(1, 2, dtype=D)(x, x))
    return keras.Model(x, L.Dense(1, dtype=D)(h))


def normalization():
    layer = L.Normalization(dtype=D)
    layer.adapt(RNG.normal(size=[20, 2]))
    return layer


NETS = {
    "Dense": lambda: net([2], dense()),
    "Conv1D": lambda: net([4, 2], L.Conv1D(2, 2, activation="tanh", dtype=D), L.Flatten(dtype=D)),
    "Conv2D": lambda: net([3, 3, 1], convolution(), L.Flatten(dtype=D)),
    "MaxPooling": lambda: net(
        [3, 3, 1], convolution(), L.MaxPooling2D(dtype=D), L.Flatten(dtype=D)
    ),
    "AveragePooling": lambda: net(
        [3, 3, 1], convolution(), L.AveragePooling2D(2, dtype=D), L.Flatten(dtype=D)
    ),
    "UpSampling": lambda: net(
        [2, 2, 1], convolution(1), L.UpSampling2D(dtype=D), L.Flatten(dtype=D)
    ),
    "BatchNormalization": lambda: net([2], dense(), L.BatchNormalization(dtype=D)),
    "LayerNormalization": lambda: net([2], dense(), L.LayerNormalization(dtype=D)),
    "GroupNormalization": lambda: net([2], dense(4), L.GroupNormalization(2, dtype=D)),
    "Dropout": lambda: net([2], dense(), L.Dropout(0.2, dtype=D)),
    "LSTM": lambda: net([2, 2], L.LSTM(2, dtype=D)),
    "GRU": lambda: net([2, 2], L.GRU(2, dtype=D)),
    "unrolled": lambda: net([2, 2], L.SimpleRNN(2, unroll=True, dtype=D)),
    "MultiHeadAttention": attention,
    "Rescaling": lambda: net([2], L.Rescaling(0.5, 0.1, dtype=D), dense()),
    "Normalization": lambda: net([2], normalization(), dense()),
}


def points(made):
    return tf.constant(np.random.default_rng(1).normal(size=[ROWS, *made.input_shape[1:]]))


def direction(like):
    return tf.constant(np.random.default_rng(2).normal(size=like.shape))


def difference(fn, x, v, step=1e-5):
    return (fn(x + step * v) - fn(x - step * v)) / (2 * step)


@pytest.mark.parametrize("name", NETS)
def test_derivatives_are_those_of_differences(name):
    made = NETS[name]()
    x = points(made)
    v = direction(x)
    value, (first, second) = st.directional_jet(made, x, [v[:, None], v[:, None]])
    np.testing.assert_allclose(value, made(x))
    np.testing.assert_allclose(first[:, 0], difference(made, x, v), atol=1e-7)
    slope = difference(lambda x: st.jvp(made, x, v)[1], x, v)
    np.testing.assert_allclose(second[:, 0], slope, atol=1e-6)


@pytest.mark.parametrize("name", NETS)
def test_the_loss_of_derivatives_has_the_gradient_of_differences(name):
    """With respect to the weights: what trains the net."""
    made = NETS[name]()
    x = points(made)
    v = direction(x)
    kernel = made.trainable_variables[0]
    w, start = direction(kernel), tf.identity(kernel.value)

    def loss():
        return tf.reduce_sum(st.jvp(made, x, v)[1] ** 2)

    with tf.GradientTape() as tape:
        total = loss()
    ours = tf.reduce_sum(tape.gradient(total, kernel.value) * w)

    def at(step):
        kernel.assign(start + step * w)
        return loss()

    theirs = (at(1e-6) - at(-1e-6)) / 2e-6
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-8)


@pytest.mark.filterwarnings("ignore:.*normalizes over the batch")
@pytest.mark.parametrize("name", NETS)
def test_a_model_adapts_fits_and_answers(name):
    made = NETS[name]()
    x = points(made).numpy()
    y, dy = RNG.normal(size=[ROWS, 1]), RNG.normal(size=[ROWS, 1, *x.shape[1:]])
    model = st.SobolevModel(made)
    model.adapt(x, (y, dy))
    model.compile("adam", run_eagerly=True)
    assert np.isfinite(model.fit(x, (y, dy), verbose=0).history["loss"]).all()
    v = direction(tf.constant(x))
    slope = difference(lambda x: model(x), tf.constant(x), v)
    ours = tf.reduce_sum(
        tf.reshape(model.equation.jet(tf.constant(x)).derivatives[0] * v[:, None], [ROWS, 1, -1]),
        2,
    )
    np.testing.assert_allclose(ours, slope, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["LayerNormalization", "unrolled", *slow("MultiHeadAttention", "LSTM")]
)
def test_least_squares_lowers_the_loss_or_says_why_not(name):
    made = NETS[name]()
    x = points(made).numpy()
    model = st.SobolevModel(made, order=0)
    model.compile("adam")
    y = RNG.normal(size=[ROWS, 1])
    if name == "LSTM":
        with pytest.raises(ValueError, match=r"fit_least_squares: .*unroll=True") as caught:
            st.fit_least_squares(model, x, y, iterations=2)
        assert "\n" not in str(caught.value)
        return
    losses = st.fit_least_squares(model, x, y, iterations=3).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["Conv2D", "LayerNormalization"])
def test_an_exported_net_is_differentiated_again(name, tmp_path):
    made = NETS[name]()
    x = points(made)
    model = st.SobolevModel(made)
    model.export(tmp_path / "saved")
    loaded = tf.saved_model.load(tmp_path / "saved")
    served = loaded.signatures["jet"](x=x)
    expected = st.jet(made, x)
    np.testing.assert_allclose(served["d1"], expected.derivatives[0], atol=1e-10)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loaded.signatures["serving_default"](x=x)["value"]
    slope = tape.gradient(value, x)
    np.testing.assert_allclose(slope[:, None], expected.derivatives[0], atol=1e-10)


def test_a_layer_without_gradient_is_one_line():
    made = net([2], L.Lambda(tf.round, dtype=D))
    with pytest.raises(ValueError, match="no output depends on x") as caught:
        st.SobolevModel(made).predict_jet(np.ones([2, 2]))
    assert "\n" not in str(caught.value)


def test_moments_outside_of_jets_are_tensorflows():
    """Layers of other models, and of the stages of a split net, compute as before."""
    x = tf.constant(RNG.normal(size=[3, 4]))
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            mean, variance = tf.nn.moments(x, 1)
        slope = inner.gradient(variance, x)
    np.testing.assert_allclose(mean, np.mean(x, 1))
    np.testing.assert_allclose(variance, np.var(x, 1))
    stopped = tf.reduce_sum(outer.batch_jacobian(slope, x), 2)
    np.testing.assert_allclose(stopped, 0.5 * np.ones([3, 4]))
