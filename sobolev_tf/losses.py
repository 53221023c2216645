"""Distances between jets: the l and l_j of equation 1, and how one order's loss is averaged.

The losses here sum over dimensions and average over the batch, as the paper prints them, unless
over="mean". Keras's "mse" is a mean over all axes: half of SquaredNorm for two outputs.
"""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="sobolev_tf")
class SquaredNorm(keras.losses.Loss):
    """|e|²: squared errors summed over all dimensions, [B,...] -> [B], then the batch's mean.

    over: "sum" or "mean" over the dimensions.

    >>> float(SquaredNorm()(tf.constant([[0.0, 0.0]]), tf.constant([[3.0, 4.0]])))
    25.0
    """

    def __init__(self, over="sum", name="squared_norm", **kwargs):
        super().__init__(name=name, **kwargs)
        self.over = _known(over)

    def call(self, y_true, y_pred):
        return _over_dimensions(_error(y_true, y_pred) ** 2, self.over)

    def get_config(self):
        return {**super().get_config(), "over": self.over}


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Norm(keras.losses.Loss):
    """|e|, as distillation (section 4.2) prints it: [B,...] -> [B]. Its gradient at 0 is 0.

    over: "sum" of the squares, or their "mean", over the dimensions.

    >>> float(Norm()(tf.constant([[0.0, 0.0]]), tf.constant([[3.0, 4.0]])))
    5.0
    """

    def __init__(self, over="sum", name="norm", **kwargs):
        super().__init__(name=name, **kwargs)
        self.over = _known(over)

    def call(self, y_true, y_pred):
        return _root(_over_dimensions(_error(y_true, y_pred) ** 2, self.over))

    def get_config(self):
        return {**super().get_config(), "over": self.over}


@keras.saving.register_keras_serializable(package="sobolev_tf")
class L1Norm(keras.losses.Loss):
    """Sum of absolute errors over all dimensions (section 4.3): [B,...] -> [B].

    over: "sum" or "mean" over the dimensions.

    >>> float(L1Norm()(tf.constant([[0.0, 0.0]]), tf.constant([[3.0, -4.0]])))
    7.0
    """

    def __init__(self, over="sum", name="l1_norm", **kwargs):
        super().__init__(name=name, **kwargs)
        self.over = _known(over)

    def call(self, y_true, y_pred):
        return _over_dimensions(tf.abs(_error(y_true, y_pred)), self.over)

    def get_config(self):
        return {**super().get_config(), "over": self.over}


@keras.saving.register_keras_serializable(package="sobolev_tf")
class RelativeNorm(keras.losses.Loss):
    """|e| / max(|y|, floor), each example by its own label: [B,...] -> [B].

    For labels whose sizes span orders of magnitude. `floor`, in units of the label, keeps
    labels near zero from outweighing all others.

    >>> float(RelativeNorm()(tf.constant([[6.0, 8.0]]), tf.constant([[6.0, 3.0]])))
    0.5
    """

    def __init__(self, floor=1e-6, name="relative_norm", **kwargs):
        super().__init__(name=name, **kwargs)
        if not floor > 0:
            raise ValueError(f"RelativeNorm: floor is above 0, got {floor}.")
        self.floor = floor

    def call(self, y_true, y_pred):
        size = _root(_over_dimensions(tf.cast(y_true, y_pred.dtype) ** 2, "sum"))
        error = _root(_over_dimensions(_error(y_true, y_pred) ** 2, "sum"))
        return error / tf.maximum(size, self.floor)

    def get_config(self):
        return {**super().get_config(), "floor": self.floor}


NORMS = (SquaredNorm, Norm, L1Norm, RelativeNorm)


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
            "the model averages over the batch itself."
        )
    return loss


def per_example(loss, y_true, y_pred):
    """One number per example, [B]: the loss, averaged over any axis that it left beside B.

    Labels are cast to the prediction's dtype. Raises ValueError for a loss of the whole batch.

    >>> per_example(resolve("mse"), tf.zeros([1, 2, 3]), tf.ones([1, 2, 3])).numpy().tolist()
    [1.0]
    """
    if y_true.dtype.is_floating:
        y_true = tf.cast(y_true, y_pred.dtype)
    if y_pred.shape.rank == 1:  # Keras's losses are means over the last axis, which is B here
        y_true, y_pred = y_true[:, None], y_pred[:, None]
    values = getattr(loss, "call", loss)(y_true, y_pred)
    if values.shape.rank == 0:
        raise ValueError(
            f"loss {getattr(loss, 'name', loss)} gives one number for the batch; expected one for "
            "each example, [B]: take its mean over axis=-1."
        )
    axes = list(range(1, len(values.shape)))
    return tf.reduce_mean(values, axes) if axes else values


def batch_mean(values, weights=None):
    """Weighted sum of values [B] over B: weights do not change the divisor, as in Keras.

    An empty batch gives 0.

    >>> float(batch_mean(tf.constant([1.0, 3.0]), tf.constant([1.0, 0.0])))
    0.5
    """
    if weights is not None:
        values *= tf.reshape(tf.cast(weights, values.dtype), tf.shape(values))
    share = tf.math.reciprocal_no_nan(tf.cast(tf.size(values), values.dtype))
    return tf.reduce_sum(values) * share


def _error(y_true, y_pred):
    """The difference, for labels of any dtype: integers and booleans are numbers here."""
    return y_pred - tf.cast(y_true, y_pred.dtype)


def _over_dimensions(t, over):
    reduce = tf.reduce_sum if over == "sum" else tf.reduce_mean
    return reduce(t, list(range(1, len(t.shape))))


def _root(square):
    """sqrt, with gradient 0 at 0: its own is infinite there, and infinity times zero is NaN."""
    positive = square > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, square, 1)), 0)


def _known(over):
    if over not in ("sum", "mean"):
        raise ValueError(f'a norm is over the "sum" or the "mean" of dimensions, got {over!r}.')
    return over
