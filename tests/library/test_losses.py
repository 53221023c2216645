"""losses: by hand, with their gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import losses

ERROR = np.array([[[3.0, 4.0], [0.0, 0.0]], [[1.0, -1.0], [1.0, -1.0]]])


@pytest.mark.parametrize(
    ("loss", "numbers"),
    [(losses.SquaredNorm(), [25, 4]), (losses.Norm(), [5, 2]), (losses.L1Norm(), [7, 4])],
)
def test_sum_over_dimensions_mean_over_the_batch(loss, numbers):
    zeros = np.zeros_like(ERROR)
    np.testing.assert_allclose(
        losses.per_example(loss, tf.constant(zeros), tf.constant(ERROR)), numbers
    )
    assert float(loss(zeros, ERROR)) == pytest.approx(np.mean(numbers))
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)


@pytest.mark.parametrize("loss", [losses.SquaredNorm(), losses.Norm(), losses.L1Norm()])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_integers_and_booleans_are_numbers(loss, dtype):
    true, predicted = tf.constant([[0, 1]]), tf.constant([[1.0, 1.0]])
    assert losses.per_example(loss, tf.cast(true, dtype), predicted).numpy().tolist() == [1.0]


@pytest.mark.parametrize("shape", [[2], [1, 2]])
def test_labels_of_one_output_may_lack_its_axis_for_a_plain_function_too(shape):
    """Squares of errors 1 and -2; broadcasting would mix the rows."""
    true, predicted = tf.reshape([3.0, 5.0], shape), tf.reshape([4.0, 3.0], [*shape, 1])
    squares = losses.per_example(lambda y, outputs: (y - outputs) ** 2, true, predicted)
    assert squares.numpy().tolist() == ([1.0, 4.0] if shape == [2] else [2.5])


def test_the_norm_has_a_gradient_at_zero():
    e = tf.Variable([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        loss = losses.Norm()(tf.zeros([2, 2]), e)
    np.testing.assert_allclose(tape.gradient(loss, e), [[0, 0], [0.3, 0.4]])


@pytest.mark.parametrize("loss", [losses.Norm(), losses.RelativeNorm(), losses.SquaredNorm()])
def test_the_norm_of_nan_is_nan(loss):
    assert np.isnan(float(loss(tf.ones([1, 2]), tf.constant([[np.nan, 1.0]]))))
    assert np.isnan(float(loss(tf.constant([[np.nan, 1.0]]), tf.ones([1, 2]))))


def test_weights_do_not_change_the_divisor_and_an_empty_batch_is_zero():
    assert float(losses.batch_mean(tf.constant([2.0, 4.0]), tf.constant([[3.0], [0.5]]))) == 4
    assert float(losses.batch_mean(tf.zeros([0]))) == 0


def test_keras_losses_average_what_they_leave():
    true, predicted = tf.zeros([2, 2, 2]), tf.constant(ERROR, tf.float32)
    ours = losses.batch_mean(losses.per_example(losses.resolve("mse"), true, predicted))
    assert float(ours) == pytest.approx(float(keras.losses.MeanSquaredError()(true, predicted)))


def test_other_reductions_are_refused():
    with pytest.raises(ValueError, match="reduction='sum'"):
        losses.resolve(losses.Norm(reduction="sum"))


@pytest.mark.parametrize("loss", [losses.SquaredNorm(), losses.Norm(), losses.L1Norm()])
def test_labels_without_the_axis_of_one_output_do_not_broadcast(loss):
    labels, predicted = tf.zeros([4]), tf.constant([[1.0], [2.0], [3.0], [4.0]])
    assert float(loss(labels, predicted)) == float(loss(labels[:, None], predicted))
    with pytest.raises(ValueError, match="a norm needs one label for each output"):
        loss(tf.zeros([4, 1]), tf.ones([4, 3]))


def test_a_mean_over_the_batch_is_refused():
    def per_output(y_true, y_pred):
        return tf.reduce_mean((y_true - y_pred) ** 2, axis=0)

    with pytest.raises(ValueError, match=r"loss per_output gives shape \[2\]"):
        losses.per_example(per_output, tf.zeros([5, 2]), tf.ones([5, 2]))
    unknown = tf.TensorSpec([None, 2])
    with pytest.raises(ValueError, match=r"not over the batch"):
        tf.function(lambda y: losses.per_example(per_output, y, y)).get_concrete_function(unknown)
