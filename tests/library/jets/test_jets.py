"""jets: against closed forms and float64 central differences, eager, compiled and with XLA."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import jets
from sobolev_tf.jets import contractions

A = np.array([[1.0, 2.0, 0.5], [-1.0, 0.3, 4.0]])


def cubic(x):
    """[B,3] -> [B,2] with known derivatives: (Ax)³, elementwise."""
    return tf.linalg.matvec(A, x) ** 3


def closed_form(x):
    z = x @ A.T
    return (
        z**3,
        3 * z[:, :, None] ** 2 * A,
        6 * np.einsum("bk,ki,kj->bkij", z, A, A),
        6 * np.einsum("b,ki,kj,kl->bkijl", np.ones(len(x)), A, A, A),
    )


def points(batch=4):
    return np.random.default_rng(0).normal(size=[batch, 3])


MODES = {
    "eager": lambda fn: fn,
    "graph": tf.function,
    "xla": lambda fn: tf.function(fn, jit_compile=True),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_jet_is_the_closed_form(mode):
    order = 3 if mode == "eager" else 2  # tracing order 3 takes seconds
    got = MODES[mode](lambda x: jets.jet(cubic, x, order))(tf.constant(points()))
    truth = closed_form(points())[: order + 1]
    for ours, theirs in zip((got.value, *got.derivatives), truth, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_projections_of_the_function_are_projections_of_its_derivatives(mode):
    x, rng = tf.constant(points()), np.random.default_rng(1)
    u = tf.constant(rng.normal(size=[4, 2, 2]))
    v = [tf.constant(rng.normal(size=[4, 2, 3])) for _ in range(2)]
    value, d1, d2, _ = closed_form(points())
    out = MODES[mode](lambda x: jets.projected_jet(cubic, x, 2, lambda _: u))(x)
    np.testing.assert_allclose(out.value, value)
    np.testing.assert_allclose(out.derivatives[0], np.einsum("bki,bpk->bpi", d1, u))
    np.testing.assert_allclose(out.derivatives[1], np.einsum("bkij,bpk->bpij", d2, u))
    np.testing.assert_allclose(contractions.contract_outputs(d2, u), out.derivatives[1])
    inp = MODES[mode](lambda x: jets.directional_jet(cubic, x, v))(x)
    np.testing.assert_allclose(inp.value, value)
    np.testing.assert_allclose(inp.derivatives[0], np.einsum("bki,bpi->bpk", d1, v[0]))
    np.testing.assert_allclose(inp.derivatives[1], np.einsum("bkij,bpi,bpj->bpk", d2, *v))
    np.testing.assert_allclose(contractions.contract_inputs(tf.constant(d2), v), inp.derivatives[1])


@pytest.mark.parametrize("mode", MODES)
def test_partial_jets_contract_the_first_argument_alone(mode):
    v = tf.constant(np.random.default_rng(1).normal(size=[4, 2, 3]))
    value, d1, d2, d3 = closed_form(points())
    order = 3 if mode == "eager" else 2
    got = MODES[mode](lambda x: jets.partial_jet(cubic, x, v, order))(tf.constant(points()))
    np.testing.assert_allclose(got.value, value)
    for subscripts, d, ours in zip(
        ("bki,bpi->bpk", "bkij,bpi->bpkj", "bkijl,bpi->bpkjl"),
        (d1, d2, d3),
        got.derivatives,
        strict=False,
    ):
        expected = np.einsum(subscripts, d, v)
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-10)
        order = d.ndim - 2
        contracted = contractions.contract_inputs(tf.constant(d), [v], order)
        np.testing.assert_allclose(contracted, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_hvp_is_the_hessian_applied(mode):
    rng = np.random.default_rng(1)
    v, u = tf.constant(rng.normal(size=[4, 3])), tf.constant(rng.normal(size=[4, 2]))
    _, _, d2, _ = closed_form(points())
    value, product = MODES[mode](lambda x: jets.hvp(cubic, x, v, u))(tf.constant(points()))
    np.testing.assert_allclose(value, cubic(points()))
    np.testing.assert_allclose(product, np.einsum("bkij,bj,bk->bi", d2, v, u))
    with pytest.raises(ValueError, match="hvp needs u"):
        jets.hvp(cubic, points(), v)
    assert not np.any(jets.hvp(lambda x: x[:, :1], points(), v)[1])


def test_a_directional_jet_runs_the_function_once():
    calls = []

    def counted(x):
        calls.append(1)
        return cubic(x)

    v = tf.ones([4, 5, 3], tf.float64)
    jets.directional_jet(counted, points(), [v, v])
    jets.partial_jet(counted, points(), v, 2)
    assert len(calls) == 2


def test_jvp_and_vjp_are_the_jacobian_applied():
    x, u, v = points(), np.ones([4, 2]), points() ** 2
    _, d1, *_ = closed_form(x)
    np.testing.assert_allclose(
        jets.jvp(cubic, x, tf.constant(v))[1], np.einsum("bki,bi->bk", d1, v)
    )
    np.testing.assert_allclose(jets.vjp(cubic, x, tf.constant(u))[1], d1.sum(1))


def conv_net():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input([5, 5, 2], dtype="float64"),
            layers.Conv2D(3, 3, activation="softplus", dtype="float64"),
            layers.AveragePooling2D(2, dtype="float64"),
            layers.Flatten(dtype="float64"),
            layers.Dense(2, dtype="float64"),
        ]
    )


def dense_net():
    layers = [keras.layers.Dense(n, activation="tanh", dtype="float64") for n in (8, 3)]
    return keras.Sequential([keras.Input([4], dtype="float64"), *layers])


@pytest.mark.parametrize(("make", "shape"), [(dense_net, [3, 4]), (conv_net, [2, 5, 5, 2])])
def test_input_gradient_of_nets_against_central_differences(make, shape):
    net, x, step = make(), np.random.default_rng(0).normal(size=shape), 1e-5
    ours = jets.jet(net, x).derivatives[0].numpy()
    assert ours.shape == (shape[0], *net.output_shape[1:], *shape[1:])
    flat = ours.reshape(*ours.shape[:2], -1)
    for i in range(flat.shape[-1]):
        e = step * np.eye(flat.shape[-1])[i].reshape(shape[1:])
        difference = (net(x + e) - net(x - e)) / (2 * step)
        np.testing.assert_allclose(flat[..., i], difference, rtol=1e-6, atol=1e-9)


def test_an_empty_batch_has_an_empty_jet():
    got = jets.jet(cubic, np.zeros([0, 3]), 2)
    assert [d.shape for d in got.derivatives] == [(0, 2, 3), (0, 2, 3, 3)]
    v = tf.zeros([0, 2, 3], tf.float64)
    assert jets.directional_jet(cubic, np.zeros([0, 3]), [v]).derivatives[0].shape == (0, 2, 2)


def test_a_free_batch_size_traces_once():
    fn = tf.function(
        lambda x: jets.jet(cubic, x, 2), input_signature=[tf.TensorSpec([None, 3], tf.float64)]
    )
    assert fn(points(2)).derivatives[1].shape == (2, 2, 3, 3)
    assert fn.get_concrete_function().structured_outputs.derivatives[0].shape == [None, 2, 3]


def test_a_linear_function_has_a_zero_second_derivative():
    assert not np.any(jets.jet(lambda x: 2 * x, points(), 2).derivatives[1])
    v = tf.ones([4, 1, 3], tf.float64)
    assert not np.any(jets.directional_jet(lambda x: 2 * x, points(), [v, v]).derivatives[1])


def test_an_output_that_ignores_the_input_is_an_error():
    for fn in (tf.stop_gradient, lambda x: tf.zeros_like(x)):
        with pytest.raises(ValueError, match="no gradient path"):
            jets.jet(fn, points())
    with pytest.raises(ValueError, match=r"int64.*astype"):
        jets.jet(cubic, np.ones([2, 3], "int64"))
