"""Keras metrics of how well each order is matched: RMSE, R² and cosine."""

import contextlib
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

NAMES = ("rmse", "r2", "cosine")


def jet_metrics(terms: Iterable[str], dtype: str | None = None) -> dict[str, keras.Metric]:
    """Make the metrics of every term: value_rmse, value_r2, d1_rmse, d1_r2, d1_cosine, ...

    rmse is taken over all entries. r2 is 1 - |e|² / |y - mean|², with a mean for each component,
    and squares summed over all components. cosine is that of an example's true and predicted
    derivative, averaged over examples.

    Args:
      terms: names of terms, such as "value", "d1", "jvp".
      dtype: the dtype in which metrics compute; None for Keras's.

    Returns:
      The metrics by name.

    Example:

    >>> list(jet_metrics(["value", "d1"]))
    ['value_rmse', 'value_r2', 'd1_rmse', 'd1_r2', 'd1_cosine']
    """
    metrics = []
    for term in terms:
        metrics.append(keras.metrics.RootMeanSquaredError(name=f"{term}_rmse", dtype=dtype))
        metrics.append(_R2Score("variance_weighted_average", name=f"{term}_r2", dtype=dtype))
        if term != "value":
            metrics.append(keras.metrics.CosineSimilarity(name=f"{term}_cosine", dtype=dtype))
    return {metric.name: metric for metric in metrics}


def in_float64(metrics: Any) -> Any:
    """Replace names of Keras metrics by metrics that compute in float64.

    Names whose class depends on the labels, such as "accuracy", stay names.

    Example:

    >>> in_float64(["mae", "accuracy"])[0].dtype, in_float64(None) is None
    ('float64', True)
    """
    if isinstance(metrics, list | tuple):
        return [in_float64(metric) for metric in metrics]
    if not isinstance(metrics, str) or metrics in ("accuracy", "acc", "crossentropy", "ce"):
        return metrics
    known = keras.metrics.get(metrics)
    is_metric = isinstance(known, keras.metrics.Metric)
    return type(known)(name=metrics, dtype="float64") if is_metric else metrics


class _R2Score(keras.metrics.R2Score):
    """Keras's R², which can make its state only in the first trace of a step; this one in any."""

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
