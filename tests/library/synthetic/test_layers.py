import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf.synthetic import (
    DirectGradient,
    SyntheticGradient,
    cifar_critic,
    dense_critic,
    imagenet_critic,
)
from sobolev_tf.synthetic.cut import replace_gradient
from sobolev_tf.synthetic.diagnostics import compare

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_jet_of_a_linear_critic_by_hand():
    """m = log sum exp(W h) - (W h)_y, so dm/dh = W^T (softmax(W h) - onehot(y))."""
    critic = keras.Sequential([keras.Input([2]), keras.layers.Dense(3, use_bias=False)])
    kernel = np.array([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]], "float32")
    critic.set_weights([kernel])
    h, y = np.array([[1.0, 2.0], [0.0, -1.0]], "float32"), np.array([2, 0])
    logits = h @ kernel
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    m, (gradient,) = SyntheticGradient(critic, CROSS_ENTROPY).jet(h, y)
    np.testing.assert_allclose(m, -np.log(p[[0, 1], y]), rtol=1e-5)
    np.testing.assert_allclose(gradient, (p - np.eye(3)[y]) @ kernel.T, rtol=1e-5)


def test_layer_passes_h_forward_and_the_critics_gradient_down():
    layer = SyntheticGradient(dense_critic((4,), 3), CROSS_ENTROPY)
    h, y = tf.random.normal([5, 4]), tf.constant([0, 1, 2, 0, 1])
    weight = tf.constant([1.0, 0.5, 2.0, 0.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(h)
        above = layer(h, y, weight=weight)
        objective = tf.reduce_sum(7.0 * above)
    np.testing.assert_array_equal(above, h)
    expected = weight[:, None] * layer.jet(h, y).derivatives[0]
    np.testing.assert_allclose(tape.gradient(objective, h), expected, rtol=1e-6)


def test_nothing_flows_into_the_critic_through_the_layer():
    layer = SyntheticGradient(dense_critic((4,), 3), CROSS_ENTROPY)
    h, y = tf.random.normal([5, 4]), tf.constant([0, 1, 2, 0, 1])
    with tf.GradientTape() as tape:
        objective = tf.reduce_sum(layer(h, y))
    gradients = tape.gradient(objective, layer.critic.trainable_variables)
    assert gradients == [None] * 4


def test_layer_wires_a_users_own_model_and_training_loop():
    """Half a network learns to classify from the critic's gradient only."""
    lower = keras.Sequential([keras.Input([2]), keras.layers.Dense(8, "tanh")])
    layer = SyntheticGradient(dense_critic((8,), 2), CROSS_ENTROPY)
    x = tf.random.normal([16, 2])
    y = tf.cast(x[:, 0] > 0, tf.int32)
    optimizer = keras.optimizers.SGD(0.5)
    m_before = tf.reduce_mean(layer.jet(lower(x), y).value)
    for _ in range(100):
        with tf.GradientTape() as tape:
            above = layer(lower(x), y, weight=1 / 16)
        gradients = tape.gradient(above, lower.trainable_variables)
        optimizer.apply_gradients(zip(gradients, lower.trainable_variables, strict=True))
    assert tf.reduce_mean(layer.jet(lower(x), y).value) < 0.8 * m_before


def test_layer_round_trip():
    layer = SyntheticGradient(dense_critic((4,), 3), CROSS_ENTROPY, name="first_cut")
    other = SyntheticGradient.from_config(layer.get_config())
    assert other.name == "first_cut"
    other.critic.set_weights(layer.critic.get_weights())
    h, y = tf.random.normal([5, 4]), tf.constant([0, 1, 2, 0, 1])
    np.testing.assert_allclose(other.jet(h, y).value, layer.jet(h, y).value)


def direct_dense(shape, outputs):
    h, y = keras.Input(shape), keras.Input([outputs])
    return keras.Model([h, y], keras.layers.Dense(shape[-1])(keras.layers.Concatenate()([h, y])))


def test_direct_layer_round_trip_also_from_a_file_that_names_a_loss():
    layer = DirectGradient(direct_dense((4,), 3))
    h, y = tf.random.normal([5, 4]), tf.constant([0, 1, 2, 0, 1])
    expected = layer.critic([h, tf.one_hot(y, 3)])
    for config in (layer.get_config(), {**layer.get_config(), "loss": None}):
        other = DirectGradient.from_config(config)
        other.critic.set_weights(layer.critic.get_weights())
        np.testing.assert_array_equal(gradient_below(other, h, y), expected)


def gradient_below(layer, h, y, **options):
    with tf.GradientTape() as tape:
        tape.watch(h)
        above = layer(h, y, **options)
    return tape.gradient(above, h)


def test_a_critic_learns_from_the_cut_without_a_second_forward_pass():
    """The cut has the critic's jet and outputs, differentiable in its weights."""
    layer = SyntheticGradient(dense_critic((4,), 3), CROSS_ENTROPY)
    h, y = tf.random.normal([5, 4]), tf.constant([0, 1, 2, 0, 1])
    with tf.GradientTape(persistent=True) as tape:
        cut = layer(h, y, weight=0.2, return_cut=True)
        jet = layer.jet(h, y)
        ends = [
            [tf.reduce_sum(cut.predicted_loss), tf.reduce_sum(cut.synthetic_gradient**2)],
            [tf.reduce_sum(jet.value), tf.reduce_sum(jet.derivatives[0] ** 2)],
        ]
    np.testing.assert_array_equal(cut.h, h)
    np.testing.assert_array_equal(cut.h_out, h)
    np.testing.assert_array_equal(cut.outputs, layer.critic(h))
    for end in zip(*ends, strict=True):
        learned, expected = (tape.gradient(e, layer.critic.trainable_variables[0]) for e in end)
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(learned, expected, rtol=1e-6)


def test_labels_and_weights_keep_their_precision_under_a_half_precision_policy():
    h, y = tf.random.normal([5, 4]), tf.fill([5, 3], 1e5)  # beyond float16
    critic = dense_critic((4,), 3)
    full, half = (
        gradient_below(SyntheticGradient(critic, "mae", dtype=dtype), h, y, weight=1e6)
        for dtype in ("float32", "mixed_float16")
    )
    assert np.abs(full).max() > 1e3
    np.testing.assert_array_equal(full, half)


def test_a_layer_without_a_loss_says_what_is_missing():
    layer = SyntheticGradient(dense_critic((4,), 3), name="first_cut")
    with pytest.raises(ValueError, match="SyntheticGradient: 'first_cut' has no loss; pass one"):
        layer(tf.ones([2, 4]), tf.constant([0, 1]))


def test_replace_gradient_keeps_half_precision_below():
    h = tf.ones([2, 3], tf.float16)
    with tf.GradientTape() as tape:
        tape.watch(h)
        above = replace_gradient(h, tf.fill([2, 3], 3.0), 0.5)
    gradient = tape.gradient(above, h)
    assert gradient.dtype == tf.float16
    np.testing.assert_array_equal(gradient, np.full([2, 3], 1.5))


def test_compare_by_hand_and_at_zero():
    a, b = tf.constant([[3.0, 0.0], [0.0, 4.0]]), tf.constant([[3.0, 4.0], [0.0, 0.0]])
    cosine, ratio = compare(a, b)
    np.testing.assert_allclose([cosine, ratio], [9 / 25, 1.0])
    np.testing.assert_array_equal(compare(tf.zeros([2, 2]), b), [0.0, 0.0])


@pytest.mark.parametrize("builder", [imagenet_critic, cifar_critic])
def test_critics_fit_the_cut_and_are_differentiable_twice(builder):
    """In h, for the synthetic gradient; then in the weights, to train it."""
    layer = SyntheticGradient(builder((6, 6, 4), 5), CROSS_ENTROPY)
    h, y = tf.random.normal([2, 6, 6, 4]), tf.constant([1, 4])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.abs(layer.jet(h, y).derivatives[0]))
    gradients = tape.gradient(loss, layer.critic.trainable_variables)
    assert all(float(tf.norm(g)) > 0 for g in gradients)


def test_wrong_arguments_are_one_line():
    critic = dense_critic((4,), 3)
    h, y = tf.ones([2, 4]), tf.zeros([2, 3])
    runs = [
        (lambda: SyntheticGradient(critic)(h, y), "has no loss; pass one"),
        (
            lambda: SyntheticGradient(critic, "mse")(h, y[:1]),
            r"h has shape \[2, 4\] and y \[1, 3\]",
        ),
        (lambda: SyntheticGradient(critic, "mse").jet(h, y[:1]), "each row of h needs one of y"),
        (lambda: SyntheticGradient(None, "mse"), "critic is a Keras model, got None"),
        (lambda: DirectGradient("critic"), "DirectGradient: critic is a Keras model, got 'critic'"),
        (lambda: SyntheticGradient(critic, CROSS_ENTROPY)(h, tf.constant([0, 3])), "outside the"),
    ]
    for run, message in runs:
        with pytest.raises(ValueError, match=message) as caught:
            run()
        assert "\n" not in str(caught.value)
