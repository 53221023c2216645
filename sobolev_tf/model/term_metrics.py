"""Updates the metrics of one term, leaving out labels that are missing."""

import keras
import tensorflow as tf

from sobolev_tf.model import labels


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


def _leave_out(metric, label, predicted, weight):
    if isinstance(metric, keras.metrics.R2Score):
        return labels.observed(label, predicted, weight)
    present = ~tf.math.is_nan(label)
    label, predicted, weight = labels.leave_missing_out(label, predicted, weight)
    if isinstance(metric, keras.metrics.RootMeanSquaredError):
        weight = weight[:, None] * tf.cast(present, weight.dtype)
    return label, predicted, weight
