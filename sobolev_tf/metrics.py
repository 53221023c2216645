"""Keras metrics of how well each order is matched: RMSE, R² and cosine."""

import contextlib
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf.keras_support.compile_settings import NAMED_BY_LABELS

NAMES = ("rmse", "r2", "cosine")


def jet_metrics(terms: Iterable[str], dtype: str | None = None) -> dict[str, keras.Metric]:
    """Make the metrics of every term: value_rmse, value_r2, d1_rmse, d1_r2, d1_cosine, ...

    rmse is taken over all entries. r2 is 1 - |e|² / |y - mean|², with a mean for each component,
    and squares summed over all components. cosine is that of an example's true and predicted
    derivative, averaged over examples.

    Args:
      terms: names of terms, such as "value", "d1", "jvp".
      dtype: the dtype in which rmse and cosine compute; None for Keras's. r2 computes in float64.

    Returns:
      The metrics by name.

    Example:

    >>> list(jet_metrics(["value", "d1"]))
    ['value_rmse', 'value_r2', 'd1_rmse', 'd1_r2', 'd1_cosine']
    """
    metrics = []
    for term in terms:
        metrics.append(keras.metrics.RootMeanSquaredError(name=f"{term}_rmse", dtype=dtype))
        metrics.append(_R2Score(name=f"{term}_r2"))
        if term != "value":
            metrics.append(keras.metrics.CosineSimilarity(name=f"{term}_cosine", dtype=dtype))
    return {metric.name: metric for metric in metrics}


def in_float64(metrics: Any, kinds: type | tuple[type, ...] = keras.metrics.Metric) -> Any:
    """Replace names of Keras metrics by metrics that compute in float64.

    Names whose class depends on the labels, such as "accuracy", stay names.

    Args:
      metrics: as for Keras's `compile`.
      kinds: classes of the metrics to replace.

    Example:

    >>> in_float64(["mae", "accuracy"])[0].dtype, in_float64(None) is None
    ('float64', True)
    >>> in_float64(["mae", "r2_score"], keras.metrics.R2Score)[0]
    'mae'
    """
    if isinstance(metrics, list | tuple):
        return [in_float64(metric, kinds) for metric in metrics]
    if not isinstance(metrics, str) or metrics in NAMED_BY_LABELS:
        return metrics
    known = keras.metrics.get(metrics)
    if not isinstance(known, kinds):
        return metrics
    kind: Any = R2Score if isinstance(known, keras.metrics.R2Score) else type(known)
    return kind(name=metrics, dtype="float64")


@keras.saving.register_keras_serializable(package="sobolev_tf")
class R2Score(keras.metrics.R2Score):
    """Keras's R², whose sums have the dtype of the metric; Keras's have that of the session.

    The spread of labels is a difference of sums of their squares, which float32 loses where labels
    are far from 0. Sums, unlike means, are also right when replicas add up theirs.

    Example:

    >>> R2Score(dtype="float64").num_samples.dtype
    'float64'
    """

    def add_variable(self, shape: Any, initializer: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Make a variable, of the metric's dtype by default."""
        return super().add_variable(shape, initializer, dtype or self.dtype, **kwargs)


class _R2Score(R2Score):
    """R² over all components together, from sums in float64."""

    def __init__(self, name: str) -> None:
        super().__init__("variance_weighted_average", name=name, dtype="float64")

    def result(self) -> tf.Tensor:
        """Return 1 - |e|² / |y - mean|²; without a spread 0 or, without errors, NaN, as Keras."""
        # Keras leaves out the errors of a constant component, and gives NaN if these are 0 too.
        spread = self.squared_sum - tf.math.divide_no_nan(self.sum**2, self.count)
        share = tf.reduce_sum(self.total_mse) / tf.reduce_sum(tf.maximum(spread, 0))
        return tf.where(tf.math.is_inf(share), tf.zeros_like(share), 1 - share)

    # Keras can make its state only in the first trace of a step; this in any.
    def _build(self, y_true_shape, y_pred_shape):
        alone = not tf.distribute.has_strategy()
        with tf.init_scope() if alone else contextlib.nullcontext():
            super()._build(y_true_shape, y_pred_shape)


def has_state(metric: keras.Metric) -> bool:
    """Tell whether a metric has its variables: some metrics make them at their first batch."""
    return getattr(metric, "built", True) and getattr(metric, "_built", True)


def refuse_unknown(chosen: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the chosen names as a tuple.

    Raises:
      ValueError: for a name that is not in `NAMES`.

    Example:

    >>> refuse_unknown(["rmse"])
    ('rmse',)
    """
    listed = isinstance(chosen, str | None) or np.iterable(chosen)
    if not listed:
        raise ValueError(f"jet_metrics is a list of {', '.join(NAMES)}, got {chosen!r}.")
    names = (chosen,) if isinstance(chosen, str) else tuple(chosen or ())
    if unknown := [name for name in names if name not in NAMES]:
        raise ValueError(f"jet_metrics has {unknown[0]!r}, expected some of {', '.join(NAMES)}.")
    return names
