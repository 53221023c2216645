"""Why a loss is not finite where the data is: a net whose own derivative is not."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_ROWS = 256


Batches = Iterable[tuple[int, int, Any]]  # number, number of the first row, (x, y, sample_weight)


def explain(model: Any, data: Batches, error: FloatingPointError) -> None:
    """Raise an error that names the first row where the net, or its target, is not finite.

    Returns where there is no such row. Weights, which may be lost, are small random ones for
    the time of the search: a root of 0 has no derivative whatever the weights are.

    Args:
      model: an `EquationModel`.
      data: batches of finite numbers.
      error: what was raised, whose first words are kept.

    Raises:
      FloatingPointError: names the term and the row.
    """
    became = str(error).split(": lower")[0].split(": x and")[0]
    before = [variable.numpy() for variable in model.net.variables]
    try:
        _revive(model.net.variables, before)
        found = _first_row(model, data)
    finally:
        for variable, value in zip(model.net.variables, before, strict=True):
            variable.assign(value)
    if found is not None:
        whose, name, row = found
        if name == "masked":
            raise FloatingPointError(
                f"{became}: the labels mask actions (minus infinity), which the student may take, "
                'and D_KL(student ‖ teacher) is infinite there: use divergence="teacher_student", '
                "or mask them in the student too."
            ) from None
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


def batches(data: tuple) -> Iterator[tuple[int, int, Any]]:
    """Yield arrays (x, y, sample_weight) as batches, whose number errors do not name."""
    data = keras.tree.lists_to_tuples(data)
    rows = len(keras.tree.flatten(data)[0])
    for start in range(0, rows, _ROWS):
        yield (
            -1,
            start,
            keras.tree.map_structure(
                lambda a, start=start: None if a is None else a[start : start + _ROWS], data
            ),
        )


def _first_row(model, data):
    for number, start, batch in data:
        if model.equation.masked and _masks_actions(batch):
            return "the labels'", "masked", start
        try:
            comparison = model._compare(batch, training=False, fold=False)
        except (ValueError, tf.errors.OpError):
            return None
        if (found := _in_batch(model, comparison)) is not None:
            whose, name, row = found
            where = "" if number < 0 else f" (batch {number})"
            return whose, name, f"{start + row}{where}"
    return None


def _in_batch(model, comparison):
    """Whose term is not finite, its name, and the row; None if all are."""
    for name, term in comparison.predicted.items():
        if (row := _wrong_row(np.isfinite(term))) is not None:
            return "the net's", name, row
    for name, term in comparison.labels.items():
        masks = model.equation.masked and name == "value"
        if term.dtype.is_floating and not masks:
            right = np.isfinite(term) | (np.isnan(term) & (model.missing == "nan"))
            if (row := _wrong_row(right)) is not None:
                return "the target's", name, row
    return None


def _masks_actions(batch):
    _, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return any(np.isneginf(label).any() for label in keras.tree.flatten(y) if label is not None)


def _wrong_row(right):
    wrong = ~np.reshape(right, [len(right), -1]).all(axis=1)
    return int(np.argmax(wrong)) if wrong.any() else None
