"""The gradient of the network's loss in the labels, by hand and by differences of the loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf.losses import per_example
from sobolev_tf.synthetic.network_loss import label_gradient

SPARSE = keras.losses.SparseCategoricalCrossentropy
ONE_HOT = keras.losses.CategoricalCrossentropy
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("loss", "classes", "expected"),
    [
        (SPARSE(from_logits=True), [0], np.log(3)),
        (SPARSE(from_logits=True), [[0, 1]], np.log(3) / 2),  # L is a mean over two steps
        (SPARSE(from_logits=True), [[[0], [1]]], np.log(3) / 2),
        (SPARSE(from_logits=True, ignore_class=-1), [[0, -1]], [[np.log(3) / 2], [0]]),
        (ONE_HOT(from_logits=True), [[0, 1]], np.log(3) / 2),
        (ONE_HOT(from_logits=True, label_smoothing=0.5), [0], np.log(3) / 2),
    ],
)
def test_numbers_by_hand(loss, classes, expected):
    sparse = isinstance(loss, SPARSE)
    steps = np.shape(classes)[:2]
    y = tf.constant(classes) if sparse else tf.one_hot(classes, 3)
    gradient = label_gradient(loss, y, tf.zeros([*steps, 3]))
    np.testing.assert_allclose(gradient[0], np.broadcast_to(expected, gradient.shape[1:]), 1e-6)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("ignored", [None, 2])
def test_another_class_changes_the_loss_by_the_difference_of_its_entries(from_logits, ignored):
    loss = SPARSE(from_logits=from_logits, ignore_class=ignored)
    outputs = RNG.normal(size=[2, 4, 3])
    outputs = tf.constant(outputs) if from_logits else tf.nn.softmax(outputs)
    y, other = (RNG.integers(0, 3 if ignored is None else 2, [2, 4]) for _ in range(2))
    gradient = label_gradient(loss, y, outputs)
    new, old = (np.take_along_axis(gradient.numpy(), a[..., None], -1)[..., 0] for a in (other, y))
    before, after = (per_example(loss, tf.constant(a), outputs).numpy() for a in (y, other))
    np.testing.assert_allclose(after - before, (new - old).sum(1), atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (ONE_HOT(from_logits=True, axis=1), RNG.uniform(size=[2, 3, 4])),
        (ONE_HOT(label_smoothing=0.2, axis=1), RNG.uniform(size=[2, 3, 4])),
        (keras.losses.BinaryCrossentropy(from_logits=True), RNG.uniform(size=[2, 4])),
        (keras.losses.MeanSquaredError(), RNG.normal(size=[2, 4, 3])),
    ],
)
def test_differences_of_the_loss(loss, y):
    outputs = RNG.uniform(0.2, 0.8, y.shape)
    steps = 1e-4 * np.eye(y[0].size).reshape(-1, *y.shape[1:])
    gradient = label_gradient(loss, tf.constant(y), tf.constant(outputs)).numpy()
    for row in range(2):
        ends = [
            per_example(loss, tf.constant(y[row] + a), tf.constant(outputs[row] + 0 * a)).numpy()
            for a in (steps, -steps)
        ]
        differences = (ends[0] - ends[1]) / 2e-4
        np.testing.assert_allclose(differences, gradient[row].ravel(), rtol=1e-5, atol=1e-8)


def test_it_is_differentiable_in_the_outputs():
    """Of sequences of two steps, -log p_c / 2: its derivative in the logit k is (p_k - [k=c])/2."""
    outputs = tf.constant(RNG.normal(size=[1, 2, 3]))
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        total = tf.reduce_sum(label_gradient(SPARSE(from_logits=True), [[0, 1]], outputs)[..., 1])
    expected = (tf.nn.softmax(outputs) - [0.0, 1.0, 0.0]) / 2
    np.testing.assert_allclose(tape.gradient(total, outputs), expected, atol=1e-12)
