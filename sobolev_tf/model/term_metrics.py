"""Metrics of terms: their updates, without missing labels, and which of them have a result."""

import math
from collections.abc import Collection, Iterable
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.metrics import NAMES
from sobolev_tf.model import labels
from sobolev_tf.model.class_numbers import are_class_numbers
from sobolev_tf.model.label_shapes import fit_shape
from sobolev_tf.model.missing import complete_rows, mask_missing


def update(
    metric: keras.Metric,
    label: tf.Tensor,
    predicted: tf.Tensor,
    weight: tf.Tensor | None = None,
    missing: str | None = None,
) -> None:
    """Update a metric with a batch of one term: an example is a row of all its entries.

    Args:
      metric: one of `sobolev_tf.metrics.jet_metrics`.
      label, predicted: [B,...].
      weight: [B], or None for 1.
      missing: "nan" leaves NaN labels out, entry by entry; r2 takes complete rows only.

    Example:

    >>> metric = keras.metrics.CosineSimilarity()
    >>> update(metric, tf.constant([[[3.0, 0.0]]]), tf.constant([[[1.0, 1.0]]]))
    >>> round(float(metric.result()), 4)
    0.7071
    """
    label, predicted = (tf.reshape(t, [-1, t.shape[1:].num_elements()]) for t in (label, predicted))
    if missing == "nan":
        label, predicted, weight = _leave_out(metric, label, predicted, weight)
    metric.update_state(label, predicted, sample_weight=weight)


def build(metric: keras.Metric, entries: int) -> None:
    """Make the state of an R2Score, for examples of so many entries.

    >>> metric = keras.metrics.R2Score()
    >>> build(metric, 3)
    >>> tuple(metric.sum.shape)
    (3,)
    """
    metric._build((None, entries), (None, entries))


def absent(names: Iterable[str], labeled: Collection[str], taken: Collection[str]) -> set[str]:
    """Return the names of losses and jet metrics that a batch with these labels does not update.

    Args:
      names: all terms.
      labeled: terms with labels that are no class numbers.
      taken: terms with labels and a loss.

    Example:

    >>> sorted(absent(["value", "d1"], labeled=["value"], taken=["value"]))
    ['d1_cosine', 'd1_loss', 'd1_r2', 'd1_rmse']
    """
    metrics = {f"{name}_{kind}" for name in names if name not in labeled for kind in NAMES}
    return metrics | {f"{name}_loss" for name in names if name not in taken}


def nan_without_labels(
    results: dict[str, tf.Tensor], metrics: Iterable[keras.Metric]
) -> dict[str, tf.Tensor]:
    """Replace results of metrics that have seen no label by NaN: Keras's 0 would look perfect.

    Args:
      results: by name of metric.
      metrics: those of them that count labels are looked at.

    Example:

    >>> float(nan_without_labels({"a": tf.zeros([])}, [keras.metrics.Mean("a")])["a"])
    nan
    """
    results = dict(results)
    for metric in metrics:
        count = getattr(metric, "num_samples", getattr(metric, "count", None))  # R2Score has both
        if count is not None and metric.name in results:
            result = tf.convert_to_tensor(results[metric.name])
            seen = tf.cast(tf.convert_to_tensor(count), tf.float32) > 0
            results[metric.name] = tf.where(seen, result, tf.constant(math.nan, result.dtype))
    return results


def first_values(y: Any, predicted: tf.Tensor, order: int, classes: bool) -> tuple[dict, dict]:
    """Return values by name of term, for Keras, which builds its metrics before the first step.

    A target's labels are not known there: the predicted values have their shape.

    Args:
      y: labels in any form.
      predicted: [B,*out].
      order: J.
      classes: as for `fit_shape`.
    """
    value = labels.by_name(y, order, extra=("directions",)).get("value")
    if value is None:
        return {"value": predicted}, {"value": predicted}
    outputs = predicted.shape[1:]
    value = fit_shape(value, predicted.shape, outputs, "value", classes)
    if not are_class_numbers(value, outputs):
        value = tf.cast(value, predicted.dtype)
    return {"value": value}, {"value": predicted}


def _leave_out(metric, label, predicted, weight):
    if isinstance(metric, keras.metrics.R2Score):
        return complete_rows(label, predicted, weight)
    present = ~tf.math.is_nan(label)
    label, predicted, weight = mask_missing(label, predicted, weight)
    if isinstance(metric, keras.metrics.RootMeanSquaredError):
        weight = weight[:, None] * tf.cast(present, weight.dtype)
    return label, predicted, weight
