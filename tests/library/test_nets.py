"""nets: what they start as, and that they load again."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import jets, nets


def test_a_sine_mlp_by_hand_with_its_gradient(tmp_path):
    net = nets.sine_mlp(2, 3, hidden=[5, 4])
    weights, x = net.get_weights(), np.random.default_rng(0).normal(size=[6, 2])
    (w1, b1), (w2, b2), (w3, b3) = (weights[i : i + 2] for i in (0, 2, 4))
    first, second = x @ w1 + b1, np.sin(x @ w1 + b1) @ w2 + b2
    value, [slope] = jets.jet(net, tf.constant(x))
    np.testing.assert_allclose(value, np.sin(second) @ w3 + b3)
    expected = np.einsum("di,bi,ij,bj,jk->bkd", w1, np.cos(first), w2, np.cos(second), w3)
    np.testing.assert_allclose(slope, expected)
    net.save(tmp_path / "net.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "net.keras")(x), value)


def test_a_sine_mlp_starts_as_waves_of_every_phase():
    net = nets.sine_mlp(2, hidden=[1000, 8])
    kernel, phases, _, later, *_ = net.get_weights()
    for start, most in ((kernel, 1.0), (phases, np.pi)):
        assert np.abs(start).max() == pytest.approx(most, rel=0.05)
        assert start.std() == pytest.approx(most / 3**0.5, rel=0.1)
    assert not later.any()  # biases of further layers
    assert {weight.dtype for weight in net.weights} == {"float64"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"activation": "swishy"}, "mlp: activation is Keras's or a function, got 'swishy'"),
        ({"dtype": "float46"}, "mlp: dtype is a floating one"),
        ({"dtype": "int32"}, "mlp: dtype is a floating one"),
    ],
)
def test_unknown_activations_and_dtypes_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        nets.mlp(2, **settings)


def test_mixed_precision_takes_single_precision():
    net = nets.mlp(2, hidden=[4], dtype="mixed_float16")
    assert (net.inputs[0].dtype, net.layers[0].compute_dtype) == ("float32", "float16")
