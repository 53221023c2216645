"""What `fit_surrogate` takes: points, values and slopes, checked once."""

from typing import Any

import numpy as np

from sobolev_tf import require
from sobolev_tf.keras_support import arrays
from sobolev_tf.model import labels as label_forms
from sobolev_tf.model.gate import Gate

_LABELS = label_forms.names(1)
_OTHERS = (*label_forms.DIRECTIONAL[:2], "directions")  # refused with advice of their own
_LEAST_WEIGHT = 1e-20  # over the largest: such a row counts for nothing, and 1/w can be squared


def checked(
    caller: str, x: Any, y: Any, weights: Any
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray | None]:
    """Return points, labels and weights as arrays of float64, without rows of weight 0.

    A row that repeats another one to the last bit is merged into it, with the sum of their weights.

    Args:
      caller: the function that errors name.
      x: [B,D].
      y: values, (value, d1), or a dict of these.
      weights: [B], or None.

    Returns:
      x [B,D]; value [B,K] and d1 [B,K,D] by name; weights [B], or None.

    Raises:
      ValueError: for data of another shape, or numbers that the fit cannot square.

    Example:

    >>> x = np.arange(4.0)[:, None]
    >>> x, y, _ = checked("fit", x, (x[:, 0], np.ones([4, 1])), None)
    >>> {name: label.shape for name, label in y.items()}
    {'value': (4, 1), 'd1': (4, 1, 1)}
    """
    gate = Gate(caller, 1, "nan")
    gate.squared = True
    x = arrays.from_lists(caller, "x", x)
    if not arrays.is_array(x):
        raise ValueError(f"{caller}: x is one array [B, D], got {require.shown(x)}.")
    if weights is not None and not arrays.is_array(weights):
        raise ValueError(
            f"{caller}: sample_weight is one array [B], got {require.shown(weights)}: pass "
            "np.asarray(sample_weight)."
        )
    if isinstance(y, dict):
        label_forms.refuse_unknown(f"{caller}: y", y, _LABELS, _OTHERS, "labels are value and d1")
    if isinstance(y, list | tuple) and len(y) > len(_LABELS) and arrays.is_array(y[-1]):
        raise ValueError(f"{caller}: y has {len(y)} entries, expected values, or (value, d1).")
    x, named_labels, *by_name = gate.arrays(x, y, weights)
    gate.nothing_to_learn(named_labels)
    weights = by_name[0]["value"] if by_name else None
    x = np.asarray(x, "float64")
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"{caller}: x has shape {list(x.shape)}, expected [B, D].")
    if others := [name for name in named_labels if name in label_forms.DIRECTIONAL]:
        raise ValueError(
            f"{caller}: labels are value and d1, got {others[0]}: fit_lbfgs takes every label."
        )
    if not named_labels:
        raise ValueError(f"{caller}: there are no labels, y is {require.shown(y)}.")
    labels = _full(caller, named_labels, x.shape[1])
    _refuse_output_without_labels(caller, labels, weights)
    x, labels, weights = _merge_repeated(x, labels, weights)
    if weights is None:
        _refuse_one_point(caller, len(x))
        return x, labels, None
    weights = np.asarray(weights, "float64").reshape(-1)
    kept = weights > 0
    _refuse_one_point(caller, np.sum(kept))
    weights = np.maximum(weights[kept], _LEAST_WEIGHT * np.max(weights))
    return x[kept], {name: label[kept] for name, label in labels.items()}, weights


def _merge_repeated(x, labels, weights):
    """Merge equal rows: for the evidence, repeated labels would be proof that there is no noise."""
    flat = [a.reshape(len(x), -1) for a in (x, *labels.values())]
    rows = np.ascontiguousarray(np.concatenate(flat, 1) + 0.0)  # -0.0 becomes 0.0
    rows[np.isnan(rows)] = np.nan  # of one sign
    whole = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, first, group = np.unique(whole, return_index=True, return_inverse=True)
    if len(first) == len(x):
        return x, labels, weights
    total = np.bincount(group, None if weights is None else np.ravel(weights))
    order = np.argsort(first)
    kept = first[order]
    return x[kept], {name: label[kept] for name, label in labels.items()}, total[order]


def _refuse_output_without_labels(caller: str, labels: dict[str, np.ndarray], weights: Any) -> None:
    rows = slice(None) if weights is None else np.ravel(weights) > 0
    present = [
        np.any(~np.isnan(label[rows]), (0, *range(2, label.ndim))) for label in labels.values()
    ]
    if not (known := np.any(present, 0)).all():
        raise ValueError(
            f"{caller}: output {int(np.argmin(known))} has no labels: all are missing, or of "
            "weight 0."
        )


def _refuse_one_point(caller: str, points: int) -> None:
    if points < 2:
        raise ValueError(
            f"{caller}: there is 1 point, or 1 of weight above 0, expected at least 2 that differ: "
            "one point does not tell how large values and their deviations are."
        )


def _full(caller: str, named_labels: dict[str, Any], dims: int) -> dict[str, np.ndarray]:
    labels = {name: np.asarray(label, "float64") for name, label in named_labels.items()}
    shapes = {"value": [], "d1": [dims]}
    outputs = None
    for name, label in labels.items():
        tail = shapes[name]
        if label.ndim == 1 + len(tail) and list(label.shape[1:]) == tail:
            labels[name] = label = label[:, None]
        known = outputs or "K"
        wide = label.ndim == 2 + len(tail) and list(label.shape[2:]) == tail
        if not wide or label.shape[1] != (outputs or max(label.shape[1], 1)):
            expected = ", ".join(["B", str(known), *map(str, tail)])
            raise ValueError(
                f"{caller}: label {name} has shape {list(label.shape)}, expected [{expected}]."
            )
        outputs = label.shape[1]
    return labels
