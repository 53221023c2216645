"""Why a loss is not finite where the data is: a net whose own derivative is not."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_ROWS = 256


def explain(model: Any, data: tuple, error: FloatingPointError) -> None:
    """Raise an error that names the first row where the net, or its target, is not finite.

    Returns where there is no such row. Weights, which may be lost, are small random ones for
    the time of the search: a root of 0 has no derivative whatever the weights are.

    Args:
      model: an `EquationModel`.
      data: (x, y, sample_weight), arrays of finite numbers.
      error: what was raised, whose first words are kept.

    Raises:
      FloatingPointError: names the term and the row.
    """
    became = str(error).split(": lower")[0].split(": x and")[0]
    if model.equation.masked and _masks_actions(data[1]):
        raise FloatingPointError(
            f"{became}: the labels mask actions (minus infinity), which the student may take, and "
            'D_KL(student ‖ teacher) is infinite there: use divergence="teacher_student", or mask '
            "them in the student too."
        ) from None
    before = [variable.numpy() for variable in model.net.variables]
    try:
        _revive(model.net.variables, before)
        found = _first_row(model, data)
    finally:
        for variable, value in zip(model.net.variables, before, strict=True):
            variable.assign(value)
    if found is not None:
        whose, name, row = found
        what = "value" if name == "value" else f"derivative {name}"
        raise FloatingPointError(
            f"{became}: x, labels and weights are finite, but {whose} {what} is not, first in row "
            f"{row}: look for a root or a norm at 0, a logarithm or a division by 0 there, such as "
            "the distance of two points at one place."
        ) from None


def _revive(variables, values):
    """Small random weights, and ones for other state that is lost."""
    random = np.random.default_rng(0)
    for variable, value in zip(variables, values, strict=True):
        if variable.trainable:
            size = np.sqrt(max(np.prod(value.shape[:-1], dtype=int), 1))
            variable.assign(random.normal(size=value.shape) / size)
        elif not np.isfinite(np.asarray(value, "float64")).all():
            variable.assign(np.ones(value.shape))


def _first_row(model, data):
    for start, batch in _batches(data):
        try:
            comparison = model._compare(batch, training=False, fold=False)
        except (ValueError, tf.errors.OpError):
            return None
        for name, term in comparison.predicted.items():
            if (row := _wrong_row(np.isfinite(term))) is not None:
                return "the net's", name, start + row
        for name, term in comparison.labels.items():
            masks = model.equation.masked and name == "value"
            if term.dtype.is_floating and not masks:
                right = np.isfinite(term) | (np.isnan(term) & (model.missing == "nan"))
                if (row := _wrong_row(right)) is not None:
                    return "the target's", name, start + row
    return None


def _masks_actions(y):
    return any(np.isneginf(label).any() for label in keras.tree.flatten(y) if label is not None)


def _wrong_row(right):
    wrong = ~np.reshape(right, [len(right), -1]).all(axis=1)
    return int(np.argmax(wrong)) if wrong.any() else None


def _batches(data: tuple) -> Iterator[tuple[int, tuple]]:
    data = keras.tree.lists_to_tuples(data)
    rows = len(keras.tree.flatten(data)[0])
    for start in range(0, rows, _ROWS):
        yield (
            start,
            keras.tree.map_structure(
                lambda a, start=start: None if a is None else a[start : start + _ROWS], data
            ),
        )
