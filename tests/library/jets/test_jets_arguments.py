"""What jets refuse: one line that names the function, what was expected, and what was given."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.sparse import csr_matrix

from sobolev_tf import SobolevModel, directional_jet, hvp, jet, jvp, partial_jet, projected_jet, vjp

X = tf.constant(np.random.default_rng(0).normal(size=[4, 2]))


def one_line(run, *words):
    """The error is one line of the library's own, with these words."""
    with pytest.raises(ValueError) as caught:
        run()
    text = str(caught.value)
    assert "\n" not in text
    assert "/sobolev_tf/" in str(caught.traceback[-1].path)
    for word in words:
        assert word in text


def square(x):
    return x[:, :1] ** 2


@pytest.mark.parametrize("order", [-1, 1.5, "1", None, True, np.float32(1), [1]])
def test_an_order_is_a_whole_number(order):
    one_line(lambda: jet(square, X, order), "jet: order is a whole number of at least 0")
    one_line(lambda: projected_jet(square, X, order, lambda y: y[:, None]), "projected_jet: order")
    one_line(lambda: partial_jet(square, X, X[:, None], order), "partial_jet: order")


def test_orders_of_numpy_are_whole_numbers():
    assert len(jet(square, X, np.int64(2)).derivatives) == 2


@pytest.mark.parametrize("v", [[1.0, 2.0], np.ones([1, 2]), np.ones([4, 3]), np.ones([3, 2]), 1.0])
def test_directions_do_not_broadcast(v):
    one_line(lambda: jvp(square, X, v), "jvp: v has shape", "expected [4, 2]")
    one_line(lambda: hvp(square, X, v), "hvp: v has shape", "expected [4, 2]")
    one_line(lambda: vjp(tf.sin, X, v), "vjp: u has shape", "expected [4, 2]")
    one_line(lambda: hvp(tf.sin, X, X, v), "hvp: u has shape", "expected [4, 2]")


@pytest.mark.parametrize("v", [np.ones([4, 2]), np.ones([4, 1, 3]), np.ones([3, 1, 2])])
def test_projections_have_an_axis_of_their_own(v):
    one_line(lambda: directional_jet(square, X, [v]), "directional_jet: directions has shape")
    one_line(lambda: partial_jet(square, X, v, 1), "partial_jet: v has shape", "[4, P, 2]")
    one_line(lambda: projected_jet(tf.sin, X, 1, lambda _: v), "projected_jet: directions")


def test_directions_are_numbers():
    one_line(lambda: jvp(square, X, None), "jvp: v is missing, expected [4, 2]")
    one_line(lambda: jvp(square, X, "v"), "jvp: v")
    one_line(lambda: vjp(square, X, None), "vjp: u is missing, expected [4, 1]")


def test_directions_of_other_precision_are_cast():
    """Integers and float32 beside a function in float64."""
    for dtype in ("float32", "int64"):
        ones = np.ones([4, 2], dtype)
        np.testing.assert_allclose(vjp(tf.sin, X, ones)[1], np.cos(X))
        np.testing.assert_allclose(jvp(tf.sin, X, ones)[1], np.cos(X))
        np.testing.assert_allclose(hvp(tf.sin, X, ones, ones)[1], -np.sin(X))


BAD = {
    "None": (lambda x: None, "fn gives None, expected one tensor"),
    "a sum": (lambda x: tf.reduce_sum(x), "fn gives shape [] for x of shape [4, 2]"),
    "fewer rows": (lambda x: x[:3], "fn gives shape [3, 2]"),
    "one row": (lambda x: tf.reduce_sum(x, 0, keepdims=True), "fn gives shape [1, 2]"),
    "a dict": (lambda x: {"a": x}, "fn gives a dict of 1"),
    "a list": (lambda x: [x, x], "fn gives a list of 2"),
    "text": (lambda x: "x", "fn gives a str"),
    "NumPy": (lambda x: np.sin(x), "FiniteDifferences"),
    "NumPy's numbers": (lambda x: x.numpy() ** 2, "FiniteDifferences"),
}
DOORS = {
    "jet": lambda fn: jet(fn, X),
    "jvp": lambda fn: jvp(fn, X, X),
    "vjp": lambda fn: vjp(fn, X, X),
    "hvp": lambda fn: hvp(fn, X, X, X),
    "directional_jet": lambda fn: directional_jet(fn, X, [X[:, None]]),
    "partial_jet": lambda fn: partial_jet(fn, X, X[:, None], 1),
    "projected_jet": lambda fn: projected_jet(fn, X, 1, lambda y: y[:, None]),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("door", DOORS)
def test_fn_answers_one_tensor_with_a_row_for_each_row(door, bad):
    fn, words = BAD[bad]
    one_line(lambda: DOORS[door](fn), f"{door}: ", words)
    one_line(lambda: tf.function(lambda: DOORS[door](fn), autograph=False)(), f"{door}: ", words)


def test_a_numpy_function_in_a_graph_is_one_line():
    traced = tf.function(lambda x: jet(np.sin, x).value, autograph=False)
    one_line(lambda: traced(X), "jet: fn computes with NumPy", "FiniteDifferences")


def test_values_without_derivatives_may_be_numpys():
    assert jet(np.sin, X, 0).value.shape == (4, 2)


def test_one_number_has_no_axis_for_the_batch():
    one_line(lambda: jet(tf.sin, 1.0), "jet: x is one number", "x[None]")
    one_line(lambda: hvp(tf.sin, np.float64(1.0), 1.0), "hvp: x is one number")


def test_fn_is_a_function():
    one_line(lambda: jet("sin", X), "jet: fn is a function of x, got str")


def test_an_error_of_fn_is_its_own():
    def fails(x):
        raise AttributeError("no attribute 'numpy_like'")

    with pytest.raises(AttributeError, match="numpy_like"):
        jet(fails, X)


def half_in_python(x):
    squares = tf.numpy_function(lambda t: t**2, [x], x.dtype)
    return tf.sin(x) + tf.ensure_shape(squares, x.shape)


def side_effect(x):
    tf.numpy_function(lambda t: t, [x], x.dtype)
    return tf.sin(x)


@tf.custom_gradient
def with_a_gradient_of_its_own(x):
    y = tf.ensure_shape(tf.numpy_function(np.sin, [x], x.dtype), x.shape)
    return y, lambda upstream: upstream * tf.cos(x)


def traced_slopes(fn, x):
    return tf.function(lambda point: jet(fn, point).derivatives[0], autograph=False)(x)


def test_a_traced_part_without_a_gradient_is_warned_of(recwarn):
    x = tf.constant([[0.5], [1.0]])
    for fn in (side_effect, with_a_gradient_of_its_own, tf.sin):
        np.testing.assert_allclose(traced_slopes(fn, x)[:, :, 0], tf.cos(x), rtol=1e-6)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"jet: a part of fn runs in Python \(numpy_function\)"):
        traced_slopes(half_in_python, x)


def test_a_target_without_a_whole_gradient_is_warned_of():
    net = keras.Sequential([keras.Input([2]), keras.layers.Dense(2)])
    model = SobolevModel(net, target=half_in_python)
    model.compile("sgd")
    with pytest.warns(UserWarning, match="a part of fn runs in Python"):
        model.fit(np.ones([4, 2], "float32"), verbose=0)


def test_masked_and_sparse_arrays_are_refused():
    masked = np.ma.masked_array(X.numpy(), mask=[[False, False], [False, True]] * 2)
    one_line(lambda: jet(square, masked), "x is masked, first in row 1")
    one_line(lambda: jvp(square, X, masked), "jvp: v is masked, first in row 1")
    sparse = csr_matrix(X.numpy())
    one_line(lambda: jet(square, sparse), "x is a csr_matrix", "x.toarray()")
    one_line(lambda: hvp(square, X, sparse), "hvp: v is a csr_matrix", "v.toarray()")
    whole = np.ma.masked_array(X.numpy(), mask=False)
    np.testing.assert_array_equal(jet(tf.sin, whole).derivatives[0], jet(tf.sin, X).derivatives[0])


def test_there_is_at_least_one_direction():
    none = np.zeros([4, 0, 2])
    one_line(lambda: partial_jet(square, X, none, 1), "partial_jet: v has shape [4, 0, 2]")
    one_line(lambda: directional_jet(square, X, [none]), "directional_jet: directions")
    one_line(lambda: projected_jet(tf.sin, X, 1, lambda _: none), "projected_jet: directions")
