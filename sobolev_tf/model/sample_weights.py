"""Weights of examples: their shape, and the form in which Keras takes them beside labels."""

import functools
from typing import Any

import keras
import numpy as np


def refuse_wide(weight: Any, name: str = "sample_weight") -> None:
    """Raise ValueError for weights that are not [B] or [B,1], such as derivatives given third."""
    shape: Any = getattr(weight, "shape", ())
    if len(shape) > 2 or (len(shape) == 2 and shape[1] not in (None, 1)):
        raise ValueError(
            f"{name} has shape {list(shape)}, expected [B]: data is (x, y, sample_weight); "
            "derivatives belong to the labels, (x, (y, dy))."
        )


def beside_labels(labels: dict[str, Any], weights: dict[str, Any]) -> dict[str, Any] | None:
    """Return weights in the structure of labels, as Keras asks for them; 1 if none is named.

    Args:
      labels: arrays by name of term, as `labels.normalize` gives them.
      weights: arrays [B] by name of term; empty for no weights.

    Returns:
      An array [B] in place of every array of labels, or None without weights.

    Example:

    >>> labels = {"value": np.zeros([2, 1]), "d1": np.zeros([2, 1, 3])}
    >>> weights = beside_labels(labels, {"d1": np.array([2.0, 3.0])})
    >>> [weight.tolist() for weight in weights.values()]
    [[1.0, 1.0], [2.0, 3.0]]
    """
    if not weights:
        return None

    def beside(label, weight):
        return np.ones(len(label), "float32") if weight is None else weight

    return {
        name: keras.tree.map_structure(functools.partial(beside, weight=weights.get(name)), label)
        for name, label in labels.items()
    }
