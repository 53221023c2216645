"""Distances between jets: l and l_j of equation 1, and how the loss of an order is averaged.

The losses here sum over dimensions and average over the batch, as in the paper, unless over="mean".
Keras's "mse" averages over all axes: for two outputs it is half of SquaredNorm.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import require


class _DimensionLoss(keras.losses.Loss):
    """A loss that sums or averages over all dimensions: [B,...] -> [B]."""

    default_name: str

    def __init__(self, over: str = "sum", name: str | None = None, **kwargs: Any):
        super().__init__(name=name or self.default_name, **kwargs)
        if over not in ("sum", "mean"):
            raise ValueError(
                f'{type(self).__name__}: over is "sum" or "mean" (over the dimensions), got '
                f"{over!r}."
            )
        self.over = over

    def get_config(self) -> dict:
        return {**super().get_config(), "over": self.over}


@keras.saving.register_keras_serializable(package="sobolev_tf")
class SquaredNorm(_DimensionLoss):
    """Squared errors |e|², summed over all dimensions, then averaged over the batch.

    Args:
      over: "sum" or "mean" over the dimensions.

    Example:

    >>> float(SquaredNorm()(tf.constant([[0.0, 0.0]]), tf.constant([[3.0, 4.0]])))
    25.0
    """

    default_name = "squared_norm"

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Compare y_true and y_pred [B,...]: [B]."""
        return _over_dimensions(_error(y_true, y_pred) ** 2, self.over)


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Norm(_DimensionLoss):
    """The Euclidean norm |e|, as in distillation (section 4.2). Its gradient at 0 is 0.

    Args:
      over: "sum" or "mean": what the root is taken of, over the squares of all dimensions.

    Example:

    >>> float(Norm()(tf.constant([[0.0, 0.0]]), tf.constant([[3.0, 4.0]])))
    5.0
    """

    default_name = "norm"

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Compare y_true and y_pred [B,...]: [B]."""
        return safe_sqrt(_over_dimensions(_error(y_true, y_pred) ** 2, self.over))


@keras.saving.register_keras_serializable(package="sobolev_tf")
class L1Norm(_DimensionLoss):
    """Absolute errors, summed over all dimensions (section 4.3), then averaged over the batch.

    Args:
      over: "sum" or "mean" over the dimensions.

    Example:

    >>> float(L1Norm()(tf.constant([[0.0, 0.0]]), tf.constant([[3.0, -4.0]])))
    7.0
    """

    default_name = "l1_norm"

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Compare y_true and y_pred [B,...]: [B]."""
        return _over_dimensions(tf.abs(_error(y_true, y_pred)), self.over)


@keras.saving.register_keras_serializable(package="sobolev_tf")
class RelativeNorm(keras.losses.Loss):
    """The error of each example relative to its own label: |e| / max(|y|, floor).

    Use it for labels whose sizes span orders of magnitude.

    Args:
      floor: a number above 0, in the units in which labels are compared: the user's, or z-scores
        after `SobolevModel.adapt`. It keeps labels near zero from outweighing all others.

    Example:

    >>> float(RelativeNorm()(tf.constant([[6.0, 8.0]]), tf.constant([[6.0, 3.0]])))
    0.5
    """

    def __init__(self, floor: float = 1e-6, name: str = "relative_norm", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        require.number("RelativeNorm", "floor", floor, above=0)
        self.floor = floor

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Compare y_true and y_pred [B,...]: [B]."""
        size = safe_sqrt(_over_dimensions(tf.cast(y_true, y_pred.dtype) ** 2, "sum"))
        error = safe_sqrt(_over_dimensions(_error(y_true, y_pred) ** 2, "sum"))
        return error / tf.maximum(size, self.floor)

    def get_config(self) -> dict:
        return {**super().get_config(), "floor": self.floor}


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Prediction(_DimensionLoss):
    """The prediction itself, whatever the label: for an output that is to be lowered (SM 5).

    `distillation.loss_net` has such an output.

    Args:
      over: "sum" or "mean" over the dimensions.

    Example:

    >>> float(Prediction()(tf.constant([[9.0]]), tf.constant([[2.0]])))
    2.0
    """

    default_name = "prediction"

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return y_pred [B,...] over its dimensions: [B]."""
        return _over_dimensions(y_pred, self.over)


NORMS = (SquaredNorm, Norm, L1Norm, RelativeNorm)


def resolve(loss: Any) -> Callable:
    """Look up a loss.

    Args:
      loss: a Keras loss, a function (y_true, y_pred), or a Keras name.

    Returns:
      A Keras loss or a function.

    Raises:
      ValueError: the loss does not average over the batch.

    Example:

    >>> resolve("mse").__name__
    'mean_squared_error'
    """
    kinds = "a Keras loss, its name, or a function (y_true, y_pred)"
    wrong = f"loss is {kinds}, got {require.shown(loss)}."
    try:
        loss = keras.losses.get(loss)
    except (TypeError, ValueError) as error:
        raise ValueError(wrong) from error
    if loss is None:
        raise ValueError(wrong)
    reduction = getattr(loss, "reduction", "mean")
    if reduction not in ("sum_over_batch_size", "mean"):
        raise ValueError(
            f'loss {loss.name!r} has reduction={reduction!r}, expected "sum_over_batch_size": '
            "the model averages over the batch itself."
        )
    return loss


def per_example(loss: Callable, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Compute the loss of each example, averaged over all axes but the batch.

    Args:
      loss: as `resolve` returns it.
      y_true: [B,...], cast to the dtype of y_pred if it is floating. Labels of one output may lack
        its axis.
      y_pred: [B,...].

    Returns:
      [B].

    Raises:
      ValueError: the loss does not give one number for each row.

    Example:

    >>> per_example(resolve("mse"), tf.zeros([1, 2, 3]), tf.ones([1, 2, 3])).numpy().tolist()
    [1.0]
    """
    if y_true.dtype.is_floating:
        y_true = tf.cast(y_true, y_pred.dtype)
    if y_pred.shape.rank == 1:  # Keras's losses are means over the last axis, which is B here
        y_true, y_pred = y_true[:, None], y_pred[:, None]
    if y_pred.shape[-1] == 1 and y_true.shape.rank == y_pred.shape.rank - 1:
        y_true = y_true[..., None]  # a plain function would broadcast [B] and [B,1] to [B,B]
    values = getattr(loss, "call", loss)(y_true, y_pred)
    if not hasattr(values, "shape"):
        raise ValueError(
            f"loss {name_of(loss)} gives a {type(values).__name__}, expected a tensor [B]."
        )
    if values.shape.rank == 0:
        raise ValueError(
            f"loss {name_of(loss)} gives one number for the batch; expected one for each example, "
            "[B]: take its mean over axis=-1."
        )
    rows = y_pred.shape[0] or y_true.shape[0]
    if values.shape.rank and values.shape[0] not in (None, rows):
        raise ValueError(
            f"loss {name_of(loss)} gives shape {list(values.shape)}, expected one number for each "
            "example, [B]: take its mean over axis=-1, not over the batch."
        )
    axes = list(range(1, len(values.shape)))
    return tf.reduce_mean(values, axes) if axes else values


def is_of_errors(loss: Callable, outputs: tuple[int, ...]) -> bool:
    """Tell whether a loss depends only on the difference of predictions and labels.

    Such a loss can compare z-scores as well as the numbers themselves. Also True if the loss does
    not accept floats of this shape.

    Args:
      loss: as `resolve` returns it.
      outputs: *out, the shape of one value.

    Example:

    >>> is_of_errors(resolve("mse"), (1,)), is_of_errors(resolve("binary_crossentropy"), (1,))
    (True, False)
    """
    rows = tf.reshape(tf.constant([0.25, 0.5, 0.375]), [3, *[1] * len(outputs)])
    y_true = rows * tf.ones([3, *outputs])
    y_pred = y_true + tf.reshape(tf.constant([0.125, -0.25, 0.25]), rows.shape)
    try:
        here, *moved = (per_example(loss, y_true + c, y_pred + c) for c in (0.0, 0.125, -0.45))
    except Exception:  # whatever a loss of other labels refuses
        return True
    tolerance = 1e-3 * tf.reduce_max(tf.abs(here))
    return all(bool(tf.reduce_all(tf.abs(here - other) <= tolerance)) for other in moved)


def is_ready_made(loss: Callable) -> bool:
    """Tell whether a loss is one of Keras's or of this package, and none of the user's own.

    >>> is_ready_made(resolve("mse")), is_ready_made(tf.nn.l2_loss)
    (True, False)
    """
    module = type(loss).__module__ if isinstance(loss, keras.losses.Loss) else loss.__module__
    return module.split(".")[0] in ("keras", "sobolev_tf")


def name_of(loss: Callable) -> str:
    """Return the name of a loss, as errors show it.

    >>> name_of(resolve("mse")), name_of(SquaredNorm())
    ('mean_squared_error', 'squared_norm')
    """
    return str(getattr(loss, "name", None) or getattr(loss, "__name__", type(loss).__name__))


def batch_mean(values: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Average weighted values over the batch: the divisor is B, whatever the weights, as in Keras.

    Args:
      values: [B].
      weights: [B], or None.

    Returns:
      A scalar; 0 for an empty batch.

    Example:

    >>> float(batch_mean(tf.constant([1.0, 3.0]), tf.constant([1.0, 0.0])))
    0.5
    """
    if weights is not None:
        values *= tf.reshape(tf.cast(weights, values.dtype), tf.shape(values))
    share = tf.math.reciprocal_no_nan(tf.cast(tf.size(values), values.dtype))
    return tf.reduce_sum(values) * share


def nan_where_negative(weights: tf.Tensor) -> tf.Tensor:
    """Replace negative weights by NaN, so that a loss that is unbounded below becomes NaN.

    Weights that follow the step, and batches in a loop of the user's own, are not checked before.

    >>> nan_where_negative(tf.constant([1.0, -1.0])).numpy().tolist()
    [1.0, nan]
    """
    weights = tf.convert_to_tensor(weights)
    if not weights.dtype.is_floating:
        weights = tf.cast(weights, tf.float32)
    return tf.where(weights < 0, tf.constant(float("nan"), weights.dtype), weights)


def safe_sqrt(square: tf.Tensor) -> tf.Tensor:
    """Take the square root, with gradient 0 at 0.

    The true gradient there is infinite, and infinity times zero would be NaN.

    >>> x = tf.constant([0.0, 4.0])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = safe_sqrt(x)
    >>> y.numpy().tolist(), tape.gradient(y, x).numpy().tolist()
    ([0.0, 2.0], [0.0, 0.25])
    """
    nonzero = square != 0  # NaN is, and stays NaN
    return tf.where(nonzero, tf.sqrt(tf.where(nonzero, square, 1)), 0)


def _error(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """The difference, for labels of any dtype: integers and booleans are cast to numbers."""
    return y_pred - tf.cast(_alike(y_true, y_pred), y_pred.dtype)


def _alike(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Labels in the shape of predictions; [B] of one output [B,1] would broadcast to [B,B]."""
    y_true = tf.convert_to_tensor(y_true)
    if y_true.shape.rank == 1 and y_pred.shape.rank == 2 and y_pred.shape[1] == 1:
        y_true = y_true[:, None]
    if not y_true.shape.is_compatible_with(y_pred.shape):
        raise ValueError(
            f"labels have shape {list(y_true.shape)}, and predictions {list(y_pred.shape)}: a norm "
            "needs one label for each output."
        )
    return y_true


def _over_dimensions(t: tf.Tensor, over: str) -> tf.Tensor:
    reduce = tf.reduce_sum if over == "sum" else tf.reduce_mean
    return reduce(t, list(range(1, len(t.shape))))
