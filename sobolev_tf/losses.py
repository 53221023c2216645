"""Distances between jets: the l and l_j of equation 1, and how one order's loss is averaged.

The losses here sum over dimensions and average over the batch, as the paper prints them.
Keras's "mse" is a mean over all axes instead: half of SquaredNorm for two outputs.
"""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="sobolev_tf")
class SquaredNorm(keras.losses.Loss):
    """|e|²: squared errors summed over all dimensions, [B,...] -> [B], then the batch's mean.

    >>> float(SquaredNorm()(tf.constant([[0.0, 0.0]]), tf.constant([[3.0, 4.0]])))
    25.0
    """

    def __init__(self, name="squared_norm", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return _sum_over_dimensions(_error(y_true, y_pred) ** 2)


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Norm(keras.losses.Loss):
    """|e|, as distillation (section 4.2) prints it: [B,...] -> [B]. Its gradient at 0 is 0.

    >>> float(Norm()(tf.constant([[0.0, 0.0]]), tf.constant([[3.0, 4.0]])))
    5.0
    """

    def __init__(self, name="norm", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        square = _sum_over_dimensions(_error(y_true, y_pred) ** 2)
        # Two wheres: the gradient of sqrt(0) is infinite, and infinity times zero is NaN.
        positive = square > 0
        return tf.where(positive, tf.sqrt(tf.where(positive, square, 1)), 0)


@keras.saving.register_keras_serializable(package="sobolev_tf")
class L1Norm(keras.losses.Loss):
    """Sum of absolute errors over all dimensions (section 4.3): [B,...] -> [B].

    >>> float(L1Norm()(tf.constant([[0.0, 0.0]]), tf.constant([[3.0, -4.0]])))
    7.0
    """

    def __init__(self, name="l1_norm", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return _sum_over_dimensions(tf.abs(_error(y_true, y_pred)))


def resolve(loss):
    """A Loss, a function (y_true, y_pred) or a Keras name, as a Loss or a function.

    >>> resolve("mse").__name__
    'mean_squared_error'
    """
    loss = keras.losses.get(loss)
    reduction = getattr(loss, "reduction", "mean")
    if reduction not in ("sum_over_batch_size", "mean"):
        raise ValueError(
            f'loss {loss.name!r} has reduction={reduction!r}, expected "sum_over_batch_size": '
            "SobolevModel averages over the batch itself."
        )
    return loss


def per_example(loss, y_true, y_pred):
    """One number per example, [B]: the loss, averaged over any axis that it left beside B.

    Labels are cast to the prediction's dtype.

    >>> per_example(resolve("mse"), tf.zeros([1, 2, 3]), tf.ones([1, 2, 3])).numpy().tolist()
    [1.0]
    """
    if y_true.dtype.is_floating:
        y_true = tf.cast(y_true, y_pred.dtype)
    values = getattr(loss, "call", loss)(y_true, y_pred)
    return tf.reduce_mean(values, list(range(1, len(values.shape))))


def batch_mean(values, weights=None):
    """Weighted sum of values [B] over B: weights do not change the divisor, as in Keras.

    An empty batch gives 0.

    >>> float(batch_mean(tf.constant([1.0, 3.0]), tf.constant([1.0, 0.0])))
    0.5
    """
    if weights is not None:
        values *= tf.reshape(tf.cast(weights, values.dtype), tf.shape(values))
    return tf.math.divide_no_nan(tf.reduce_sum(values), tf.cast(tf.size(values), values.dtype))


def _error(y_true, y_pred):
    """The difference, for labels of any dtype: integers and booleans are numbers here."""
    return y_pred - tf.cast(y_true, y_pred.dtype)


def _sum_over_dimensions(t):
    return tf.reduce_sum(t, list(range(1, len(t.shape))))
