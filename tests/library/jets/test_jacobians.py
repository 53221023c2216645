"""jacobians: by rows and columns, one by one and in loops, against closed forms and differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.jets import jacobians

L = keras.layers
MODES = {
    "eager": lambda fn: fn,
    "graph": lambda fn: tf.function(fn, autograph=False),
    "xla": lambda fn: tf.function(fn, autograph=False, jit_compile=True),
}
SHAPES = [(5, 3), (3, 5)]  # by rows, by columns


@pytest.fixture
def looped(monkeypatch):
    monkeypatch.setattr(jacobians, "UNROLLED", 1)


def cubic(inputs, outputs):
    """(Ax)³, elementwise, with its derivatives of orders 1 to 3 at four points."""
    rng = np.random.default_rng(0)
    a, x = rng.normal(size=[outputs, inputs]), rng.normal(size=[4, inputs])
    z = x @ a.T
    truth = (
        3 * z[:, :, None] ** 2 * a,
        6 * np.einsum("bk,ki,kj->bkij", z, a, a),
        6 * np.einsum("b,ki,kj,kl->bkijl", np.ones(4), a, a, a),
    )
    return lambda x: tf.linalg.matvec(a, x) ** 3, tf.constant(x), truth


def small_net(inputs, outputs, *layers):
    keras.utils.set_random_seed(0)
    shape = [inputs] if isinstance(inputs, int) else inputs
    dense = [L.Dense(n, a, dtype="float64") for n, a in ((4, "tanh"), (outputs, None))]
    return keras.Sequential([keras.Input(shape, dtype="float64"), *layers, *dense])


def check_weight_gradient(net, x, slopes_of):
    """The gradient in the weights of the sum of squared slopes, against differences along one w."""
    kernel = net.trainable_variables[0]
    start = tf.identity(kernel.value)
    w = tf.constant(np.random.default_rng(2).normal(size=kernel.shape))

    def gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(slopes_of(x) ** 2)
        return loss, tape.gradient(loss, kernel.value)

    def at(step):
        kernel.assign(start + step * w)
        return tf.reduce_sum(st.jet(net, x).derivatives[0] ** 2)

    theirs = (at(1e-5) - at(-1e-5)) / 2e-5
    kernel.assign(start)
    return gradient, float(theirs), w


@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_both_sides_are_the_closed_form(inputs, outputs, order):
    fn, x, truth = cubic(inputs, outputs)
    got = st.jet(fn, x, order).derivatives
    for ours, theirs in zip(got, truth, strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("looped")
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
@pytest.mark.parametrize(
    ("mode", "order"),
    [("graph", 1), ("xla", 1), pytest.param("graph", 2, marks=pytest.mark.slow)],
)
def test_loops_are_the_closed_form_and_take_any_batch(inputs, outputs, mode, order):
    fn, x, truth = cubic(inputs, outputs)
    spec = [tf.TensorSpec([None, inputs], x.dtype)]
    traced = tf.function(
        lambda x: st.jet(fn, x, order).derivatives,
        input_signature=spec,
        autograph=False,
        jit_compile=mode == "xla",
    )
    for rows in (4, 0):
        for ours, theirs in zip(traced(x[:rows]), truth, strict=False):
            np.testing.assert_allclose(ours, theirs[:rows], rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("looped")
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
@pytest.mark.parametrize("mode", MODES)
def test_a_loss_of_the_jacobian_has_the_weight_gradient_of_differences(inputs, outputs, mode):
    net = small_net(inputs, outputs)
    x = tf.constant(np.random.default_rng(1).normal(size=[4, inputs]))
    gradient, theirs, w = check_weight_gradient(net, x, lambda x: st.jet(net, x).derivatives[0])
    _, ours = MODES[mode](gradient)(x)
    np.testing.assert_allclose(tf.reduce_sum(ours * w), theirs, rtol=1e-7)


@pytest.mark.parametrize(("inputs", "few"), [(3, 10), (300, 40)])
def test_the_graph_does_not_grow_with_the_outputs(inputs, few):
    def size(outputs):
        net = small_net(inputs, outputs)
        spec = tf.TensorSpec([None, inputs], tf.float64)
        traced = tf.function(lambda x: st.jet(net, x).derivatives[0], autograph=False)
        definition = traced.get_concrete_function(spec).graph.as_graph_def()
        return len(definition.node) + sum(len(f.node_def) for f in definition.library.function)

    assert size(few) == size(200)


def rows_only(x):
    """sin of each input and its double; the gradient is NumPy's, and has none."""

    @tf.custom_gradient
    def fn(x):
        slopes = tf.stack([tf.cos(x), 2 * tf.cos(2 * x)], 2)  # [B,D,2]

        def gradient(u):
            product = tf.numpy_function(lambda u, s: np.sum(u * s, 2), [u, slopes], u.dtype)
            return tf.ensure_shape(product, x.shape)

        return tf.stack([tf.sin(x), tf.sin(2 * x)], 2), gradient

    return tf.tile(fn(x), [1, 1, 2])


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("beside", [0, 1])
def test_a_gradient_without_one_of_its_own_is_taken_row_by_row(mode, beside):
    """Alone, and where another part of the function could be had by columns."""
    x = tf.constant([[0.5, 1.0], [2.0, 3.0]], tf.float64)

    def fn(x):
        return rows_only(x) + beside * x[:, :, None] ** 2

    slopes = MODES[mode](lambda x: st.jet(fn, x).derivatives[0])(x)  # [B,D,4,D]
    first = tf.linalg.diag(tf.cos(x) + 2 * beside * x)
    np.testing.assert_allclose(slopes[:, :, 0], first, atol=1e-12)
    second = tf.linalg.diag(2 * tf.cos(2 * x) + 2 * beside * x)
    np.testing.assert_allclose(slopes[:, :, 3], second, atol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("looped")
@pytest.mark.parametrize("inputs", [(2, 2), (4, 2)])
def test_loops_go_through_an_lstm(inputs):
    net = small_net(inputs, 6, L.LSTM(2, dtype="float64"))
    x = tf.constant(np.random.default_rng(1).normal(size=[2, *inputs]))
    gradient, theirs, w = check_weight_gradient(net, x, lambda x: st.jet(net, x).derivatives[0])
    _, ours = MODES["graph"](gradient)(x)
    np.testing.assert_allclose(tf.reduce_sum(ours * w), theirs, rtol=1e-7)


@pytest.mark.usefixtures("looped")
def test_least_squares_takes_jacobians_that_are_loops_elsewhere():
    x = np.random.default_rng(0).normal(size=[6, 2])
    y, dy = x**2, 2 * x[:, :, None] * np.eye(2)
    model = st.SobolevModel(small_net(2, 2))
    model.compile("sgd")
    losses = st.fit_least_squares(model, x, (y, dy), iterations=2).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.usefixtures("looped")
def test_half_precision_gives_derivatives_in_the_precision_of_x():
    layers = [L.Dense(n, "tanh", dtype="mixed_float16") for n in (4, 9)]
    net = keras.Sequential([keras.Input([3]), *layers])
    x = tf.constant(np.random.default_rng(1).normal(size=[4, 3]), tf.float32)
    slopes = MODES["graph"](lambda x: st.jet(net, x).derivatives[0])(x)
    assert slopes.dtype == tf.float32
    step = 0.05
    for i in range(3):
        e = step * tf.one_hot(i, 3)
        difference = tf.cast(net(x + e) - net(x - e), tf.float32) / (2 * step)
        np.testing.assert_allclose(slopes[:, :, i], difference, atol=0.03)


def test_a_model_fits_and_answers_many_outputs_of_few_inputs():
    """400 outputs of 3 inputs, the last batch shorter, compiled by XLA."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=[3, 400]).astype("float32")
    x = rng.normal(size=[10, 3]).astype("float32")
    y, dy = x @ w, np.broadcast_to(w.T, [10, 400, 3])
    model = st.SobolevModel(keras.Sequential([keras.Input([3]), L.Dense(400)]))
    model.compile(keras.optimizers.Adam(0.1), jit_compile=True)
    loss = model.fit(x, (y, dy), batch_size=4, epochs=30, verbose=0).history["loss"]
    assert loss[-1] < 1e-2 * loss[0]
    np.testing.assert_allclose(
        model.predict_jet(x).derivatives[0],
        np.broadcast_to(model.net.layers[-1].kernel.value.numpy().T, dy.shape),
        rtol=1e-5,
    )
