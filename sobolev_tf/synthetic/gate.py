"""Checks of the data of a DecoupledModel's fit, and of its loss and weights: no NaN."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.keras_support import arrays, guarded_data
from sobolev_tf.keras_support.callbacks import StopAtNaN
from sobolev_tf.keras_support.class_losses import is_cross_entropy, takes_classes
from sobolev_tf.keras_support.shapes import batch_shape
from sobolev_tf.keras_support.watched_data import WatchedData


def check(
    caller: str,
    x: Any,
    y: Any,
    sample_weight: Any,
    at_least: int = 1,
    start: int = 0,
    where: str = "",
) -> tuple:
    """Return arrays in their plain form: as many rows each, finite, weights not negative.

    Args:
      caller: the method that errors name.
      x, y, sample_weight: arrays in any structure, or None.
      at_least: the smallest number of rows that is accepted.
      start: the number of the first row.
      where: which batch, for errors.

    Raises:
      ValueError: names the array and the first row that is wrong.

    Example:

    >>> check("fit", np.array([[0.0], [np.nan]]), None, None)
    Traceback (most recent call last):
    ValueError: fit: x has NaN, first in row 1: every number of it must be finite.
    """
    batch = (x, y, sample_weight)
    parts = [_plain(caller, *each) for each in zip(("x", "y", "sample_weight"), batch, strict=True)]
    numbers = {}
    for name, array in itertools.chain.from_iterable(named.items() for _, named in parts):
        if arrays.is_array(array) and (host := arrays.on_host(array)) is not None:
            numbers[name] = host
    require.same_rows(caller, numbers, at_least)
    for name, array in numbers.items():
        if name.startswith("sample_weight") and array.shape[1:] not in ((), (1,)):
            raise ValueError(
                f"{caller}: {name}{where} has shape {list(array.shape)}, expected [B], one number "
                "for each example."
            )
        if array.dtype.kind not in "OSU":
            refuse = require.weights if name.startswith("sample_weight") else require.finite_rows
            refuse(caller, name + where, array, start=start)
    return tuple(structure for structure, _ in parts)


def _plain(caller, name, structure):
    """Arrays of a structure in their plain form, in the structure and by name."""
    names = {id(array): each for each, array in arrays.entries(name, structure).items()}
    structure = keras.tree.map_structure(
        lambda a: arrays.plain_array(caller, names[id(a)], a) if arrays.is_array(a) else a,
        structure,
    )
    return structure, arrays.entries(name, structure)


def refuse_no_classes(caller: str, loss: Any, y: Any, output_shape: tuple) -> None:
    """Refuse labels that are no class numbers, where the loss takes these.

    Keras would cut fractions off; numbers that are out of range are NaN on some devices.

    Args:
      caller: the method, which errors name.
      loss: the network's.
      y: labels: only arrays are looked at.
      output_shape: (B, *K), the network's.

    Raises:
      ValueError: names the first such row.

    Example:

    >>> sparse = keras.losses.SparseCategoricalCrossentropy()
    >>> refuse_no_classes("fit", sparse, np.array([1.0, 1.5]), (None, 3))
    Traceback (most recent call last):
    ValueError: fit: y is 1.5 in row 1, and the loss takes class numbers: whole numbers from 0 to 2.
    """
    sparse = is_cross_entropy(loss) and takes_classes(loss)
    numbers = arrays.on_host(y) if sparse and arrays.is_array(y) else None
    if numbers is None or numbers.dtype.kind not in "fiu":
        return
    if numbers.ndim == len(output_shape) and numbers.shape[-1] > 1:
        raise ValueError(
            f"{caller}: y has shape {list(numbers.shape)}, and the loss takes class numbers "
            f"{batch_shape(output_shape[1:-1])}: pass np.argmax(y, -1), or take "
            "CategoricalCrossentropy."
        )
    wrong = (numbers != np.floor(numbers)) | (numbers < 0) | (numbers >= output_shape[-1])
    ignored = getattr(loss, "ignore_class", None)  # a function has it not
    if ignored is not None:
        wrong &= numbers != ignored
    wrong = wrong.reshape(len(numbers), -1)
    if wrong.any():
        row = int(np.argmax(wrong.any(axis=1)))
        shown = numbers.reshape(len(numbers), -1)[row, np.argmax(wrong[row])]
        raise ValueError(
            f"{caller}: y is {shown:g} in row {row}, and the loss takes class numbers: whole "
            f"numbers from 0 to {output_shape[-1] - 1}."
        )


def stream(caller: str, data: Any) -> WatchedData:
    """Return a data set, generator or PyDataset whose batches are checked."""
    if isinstance(data, tf.data.Dataset):
        arrays.parts(caller, data.element_spec)

    def check_batch(batch, number, start):
        where = f" (batch {number})"
        parts = check(caller, *arrays.parts(caller, batch), at_least=0, start=start, where=where)
        return parts[: len(batch)] if isinstance(batch, tuple | list) else parts[0]

    return WatchedData(data, check_batch, surely_right)


def surely_right(batch: Any) -> tf.Tensor:
    """Tell whether `check` surely lets a batch of tensors pass, in TensorFlow operations."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    weights = [w for w in keras.tree.flatten(sample_weight) if isinstance(w, tf.Tensor)]
    tensors = [t for t in keras.tree.flatten((x, y)) if isinstance(t, tf.Tensor)] + weights
    roots = [tf.sqrt(w if w.dtype.is_floating else tf.cast(w, tf.float32)) for w in weights]
    finite = guarded_data.all_finite([*tensors, *roots])  # the root of a number below 0 is NaN
    return guarded_data.all_true([finite, guarded_data.same_rows(tensors)])


class StopAtLostStage(StopAtNaN):
    """A callback that ends training when a loss or a weight is not finite, and names the stage.

    A finite loss does not prove that the stages below it are finite, since activations may hide
    NaN. So it also checks all weights at the end of an epoch, before any other callback runs.

    Args:
      stages: the network's stages.
      critics: the critics, one for each cut.

    Raises:
      FloatingPointError: something is not finite.
    """

    def __init__(self, stages: Sequence[keras.Model], critics: Sequence[keras.Model]) -> None:
        super().__init__()
        self._parts = [(f"stage {k}", stage) for k, stage in enumerate(stages, 1)]
        self._parts += [(f"the critic of cut {k}", each) for k, each in enumerate(critics, 1)]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Check the losses and the weights."""
        super().on_epoch_end(epoch, logs)
        if (lost := self._lost_weight()) is not None:
            raise self.error(lost, math.nan)

    def error(self, name: str, value: float) -> FloatingPointError:
        """Return the error of a loss or weight, with the first weight that is not finite."""
        lost = self._lost_weight() or "none of the weights"
        first = "" if name == lost else f" (first not finite: {lost})"
        return FloatingPointError(
            f"DecoupledModel.fit: {name} is not finite any more{first}: lower the learning rates. "
            "These weights are lost; go back to a checkpoint."
        )

    def _lost_weight(self):
        for part, model in self._parts:
            for variable in model.weights:
                if not np.isfinite(keras.ops.convert_to_numpy(keras.ops.sum(variable))) and not (
                    np.isfinite(np.asarray(variable, "float64")).all()
                ):
                    return f"{variable.path} of {part}"
        return None
