"""How well each order is matched: RMSE, R² and cosine, as Keras metrics with short names."""

import keras
import tensorflow as tf

from sobolev_tf.model import labels

NAMES = ("rmse", "r2", "cosine")


def jet_metrics(order: int) -> dict:
    """Metrics by name, for every term: d1_rmse, d1_r2, d1_cosine, value_rmse, ...

    rmse: over all entries. r2: 1 - |e|² / |y - mean|², means by component, sums over all of
    them. cosine: between true and predicted derivative, of all its entries, example by example.

    >>> sorted(jet_metrics(0))[-2:]
    ['vjp_r2', 'vjp_rmse']
    """
    made = []
    for name in [*labels.names(order), *labels.DIRECTIONAL]:
        made.append(keras.metrics.RootMeanSquaredError(name=f"{name}_rmse"))
        made.append(keras.metrics.R2Score("variance_weighted_average", name=f"{name}_r2"))
        if name != "value":
            made.append(keras.metrics.CosineSimilarity(name=f"{name}_cosine"))
    return {metric.name: metric for metric in made}


def update(metric, true, predicted, weight=None, missing=None):
    """Shows the metric a batch of labels [B,...]: an example is a row of all its entries.

    missing: "nan" leaves NaN out: entry by entry, but for r2, which takes whole rows alone.

    >>> metric = jet_metrics(1)["d1_cosine"]
    >>> update(metric, tf.constant([[[3.0, 0.0]]]), tf.constant([[[1.0, 1.0]]]))
    >>> round(float(metric.result()), 4)
    0.7071
    """
    true, predicted = (tf.reshape(t, [-1, t.shape[1:].num_elements()]) for t in (true, predicted))
    if missing == "nan":
        true, predicted, weight = _observed(metric, true, predicted, weight)
    metric.update_state(true, predicted, sample_weight=weight)


def _observed(metric, true, predicted, weight):
    if isinstance(metric, keras.metrics.R2Score):
        return labels.observed(true, predicted, weight)
    here = ~tf.math.is_nan(true)
    true, predicted, weight = labels.leave_missing_out(true, predicted, weight)
    if isinstance(metric, keras.metrics.RootMeanSquaredError):
        weight = weight[:, None] * tf.cast(here, weight.dtype)
    return true, predicted, weight


def has_state(metric) -> bool:
    """Some of Keras's metrics have none before their first batch, and then no result either."""
    return getattr(metric, "built", True) and getattr(metric, "_built", True)


def refuse_unknown(chosen) -> tuple:
    """The chosen names as a tuple, or ValueError.

    >>> refuse_unknown(["rmse"])
    ('rmse',)
    """
    chosen = (chosen,) if isinstance(chosen, str) else tuple(chosen or ())
    if unknown := [name for name in chosen if name not in NAMES]:
        raise ValueError(f"jet_metrics has {unknown[0]!r}, expected some of {', '.join(NAMES)}.")
    return chosen
