"""Controls: gradients of the true length at the cuts that say nothing, or the wrong thing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf.synthetic import DecoupledModel, split
from sobolev_tf.synthetic.controls import replacement, signs
from sobolev_tf.synthetic.methods import CONTROLS
from tests.support.cut_nets import CUTS, compiled, points, tanh_net

GRADIENT = np.random.default_rng(0).normal(size=[5, 4, 4, 7]).astype("float32")


def test_a_random_gradient_has_the_true_length_and_no_direction():
    drawn = replacement("random", tf.constant(GRADIENT), 1, 3).numpy()
    length = np.linalg.norm(GRADIENT.reshape(5, -1), axis=1)
    np.testing.assert_allclose(np.linalg.norm(drawn.reshape(5, -1), axis=1), length, rtol=1e-5)
    cosines = (drawn * GRADIENT).reshape(5, -1).sum(1) / length**2
    assert np.abs(cosines).max() < 4 / np.sqrt(4 * 4 * 7)  # four deviations of a random direction
    again = replacement("random", tf.constant(GRADIENT), 1, 3).numpy()
    np.testing.assert_array_equal(drawn, again)
    for cut, step, replica in ((0, 3, 0), (1, 4, 0), (1, 3, 1)):
        other = replacement("random", tf.constant(GRADIENT), cut, step, replica).numpy()
        assert np.abs(other - drawn).min() > 0
    by_xla = tf.function(replacement, jit_compile=True)("random", tf.constant(GRADIENT), 1, 3)
    np.testing.assert_allclose(by_xla, drawn, rtol=1e-4, atol=1e-6)


def test_half_of_the_channels_have_the_other_sign_at_every_step():
    flipped = replacement("flipped", tf.constant(GRADIENT), 2, 3).numpy()
    ratio = flipped / GRADIENT
    np.testing.assert_array_equal(ratio, np.broadcast_to(signs(7, 2), ratio.shape))
    assert sorted(signs(7, 2)) == [-1] * 3 + [1] * 4
    assert (signs(64, 0) != signs(64, 1)).any()
    np.testing.assert_array_equal(replacement("flipped", tf.constant(GRADIENT), 2, 9), flipped)


@pytest.mark.parametrize("method", CONTROLS)
@pytest.mark.parametrize("eager", [True, False])
def test_stages_learn_from_the_replaced_true_gradient(method, eager):
    """A step of SGD at rate 1 with L2, against the true gradients of a plain network."""
    net = tanh_net()
    for layer in net.layers[1:]:
        layer.kernel.regularizer = keras.regularizers.L2(0.1)
    model = compiled(net, method, run_eagerly=eager)
    x, y = points()
    x, weight = x.astype("float32"), np.array([1.0, 0.5, 2.0, 0.0, 1.5, 3.0, 1.0], "float32")
    hs, tapes, h = [], [], tf.constant(x)
    with tf.GradientTape(persistent=True) as whole:
        for stage in model.stages:
            whole.watch(h)
            hs.append(h)
            with tf.GradientTape() as tape:
                tape.watch(h)
                h = stage(h)
            tapes.append((tape, h))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, h)
        loss = tf.reduce_sum(weight * losses) / len(x)
    expected = []
    for k, ((tape, out), stage) in enumerate(zip(tapes, model.stages, strict=True)):
        true = whole.gradient(loss, [*hs[1:], h][k])
        given = true if k == 2 else replacement(method, true, k, 0)
        kernel, bias = tape.gradient(out, stage.trainable_variables, given)
        expected += [kernel + 0.2 * stage.trainable_variables[0], bias]
    before = [v.numpy() for v in model.network_variables]
    model.train_on_batch(x, y, sample_weight=weight)
    for old, variable, gradient in zip(before, model.network_variables, expected, strict=True):
        np.testing.assert_allclose(old - variable.numpy(), gradient, rtol=1e-4, atol=1e-6)


def test_without_cuts_there_is_nothing_to_replace():
    inputs = keras.Input([4])
    model = DecoupledModel(split(keras.Model(inputs, keras.layers.Dense(3)(inputs)), []), None)
    model.method = "random"
    model.compile(keras.optimizers.SGD(1.0), loss="mse", run_eagerly=True)
    before = model.get_weights()[0]
    model.train_on_batch(np.ones([2, 4]), np.ones([2, 3]))
    assert np.abs(model.get_weights()[0] - before).max() > 0


def test_a_control_is_for_stages_on_one_device():
    with pytest.raises(ValueError, match="DecoupledModel: placement: method='random' needs full"):
        DecoupledModel(split(tanh_net(), CUTS), None, "random", placement=["CPU:0"] * 3)
