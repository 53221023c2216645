"""The gate: everything that users pass to a model's methods is checked here, once.

Arrays are checked as a whole, before a weight changes; batches of streams before their step.
Afterwards labels and weights have one row for each row of x, numbers are finite, weights are not
negative, and none is for a term without labels. Of arrays, some label is present.
"""

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.keras_support import arrays, logits
from sobolev_tf.keras_support.column_ranges import are_finite, column_ranges
from sobolev_tf.keras_support.errors import errors_of
from sobolev_tf.keras_support.watched_data import WatchedData
from sobolev_tf.model import labels
from sobolev_tf.model.named_arrays import named_arrays
from sobolev_tf.model.partly_missing import PartlyMissing
from sobolev_tf.model.sample_weights import refuse_wide
from sobolev_tf.model.surely_right import SurelyRight

_EXTREME = 1e140  # squares end at 1e154, and sums of them before


class Gate:
    """The checks of a method's data.

    Args:
      caller: the method that errors name, such as "SobolevModel.fit".
      order: J.
      missing: "nan" lets NaN in labels pass, or None.
      masked: whether values may be minus infinity: logits of actions that are masked.
      target: whether the model has a target.
      partly_missing: which labels may be partly missing, or None for all.

    Attributes:
      squared: whether numbers whose squares float64 cannot hold are refused; False until set.
      ranges: the smallest and largest number of each column of the last arrays, by array; float
        arrays only.
    """

    squared = False

    def __init__(
        self,
        caller: str,
        order: int,
        missing: str | None = None,
        masked: bool = False,
        target: bool = False,
        partly_missing: PartlyMissing | None = None,
    ) -> None:
        self.caller, self.order, self.missing = caller, order, missing
        self.masked, self.target, self._partly_missing = masked, target, partly_missing
        self.ranges: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def arrays(self, x: Any, y: Any, sample_weight: Any) -> tuple:
        """Return arrays in their plain form, as `labels.as_batch` does.

        Args:
          x: the net's inputs.
          y: labels in any form, or None.
          sample_weight: in any form, or None.

        Raises:
          ValueError: names the array and the first row that is wrong.
        """
        self.ranges = {}
        x, y, sample_weight = self._plain(x, y, sample_weight)
        named = self._named(x, y, sample_weight)
        self._refuse_idle_weights(named)
        self._check_arrays(named)
        return labels.as_batch(x, y, sample_weight, self.order)

    def plain(self, x: Any) -> Any:
        """Return inputs in their plain form, whatever their numbers are.

        Raises:
          ValueError: for masked entries, complex numbers, dates or objects.
        """
        return self._plain(x, None, None)[0]

    def stream(self, data: Any) -> WatchedData:
        """Return a data set, generator or PyDataset whose batches are checked.

        Raises:
          ValueError: for a data set of (x, y, third) whose third may be derivatives, of numbers
            that are not real, or of weights without labels.
        """
        if isinstance(data, tf.data.Dataset):
            spec = data.element_spec
            self.refuse_derivatives_as_weights(spec)
            named = self._named(*arrays.parts(self.caller, spec))
            self._refuse_idle_weights(named)
            for name, leaf in named.items():
                if isinstance(leaf, tf.TensorSpec):
                    arrays.plain_array(self.caller, name, tf.zeros([0], leaf.dtype))
        complete = self._partly_missing.names() if self._partly_missing else frozenset()
        surely_right = SurelyRight(self.order, self.missing, self.masked, complete)
        return WatchedData(data, self.check_batch, surely_right)

    def check_batch(self, batch: Any, number: int = 0, start: int = 0) -> Any:
        """Check a batch of a stream, and return it with its arrays in their plain form.

        Args:
          batch: x, (x, y) or (x, y, sample_weight).
          number: number of the batch.
          start: the number of its first row.

        Raises:
          ValueError: names the batch, the entry and the row.
        """
        self.refuse_derivatives_as_weights(batch)
        parts = self._plain(*arrays.parts(self.caller, batch))
        named = self._named(*parts)
        self._refuse_idle_weights(named)
        self._check_arrays(named, start, f" (batch {number})", at_least=0)
        parts = keras.tree.lists_to_tuples(parts)  # Keras's streams take no lists
        # A tuple stays one, of as many parts; a dict or an array is x.
        return parts[: len(batch)] if isinstance(batch, tuple | list) else parts[0]

    def refuse_derivatives_as_weights(self, batch: Any) -> None:
        """Raise ValueError for (x, y, third) of values and a third [B,1] which may be dy.

        Weights are [B]; [B,1] is also the derivative of one output by one input.
        """
        arrays.parts(self.caller, batch)
        if not isinstance(batch, tuple | list) or len(batch) < 3 or not self.order or self.target:
            return
        _, y, third = batch
        with errors_of(self.caller):
            named_labels = labels.by_name(y, self.order, extra=("directions",))
        only_values = list(named_labels) == ["value"]
        if only_values and len(getattr(third, "shape", ())) == 2:
            raise ValueError(
                f"{self.caller}: sample_weight has shape {list(third.shape)}, expected [B]: data "
                "is (x, y, sample_weight); derivatives belong to the labels, (x, (y, dy))."
            )

    def nothing_to_learn(self, named_labels: dict[str, Any], purpose: str = "learn") -> None:
        """Raise ValueError for arrays whose labels are all missing.

        Args:
          named_labels: labels by name of term.
          purpose: the verb in the error, "learn" or "compare".
        """
        named = self._named(None, named_labels, None)
        numbers = [arrays.on_host(a) for name, a in named.items() if name.startswith("label")]
        if self.missing == "nan" and numbers and all(map(_all_missing, numbers)):
            raise ValueError(
                f"{self.caller}: every label is missing, there is nothing to {purpose}."
            )
        for name, array in named.items():
            if name.startswith("directions") and not np.any(arrays.on_host(array)):
                raise ValueError(
                    f"{self.caller}: {name} are all zero, there is nothing to {purpose}."
                )

    def _plain(self, x, y, sample_weight):
        named = self._named(x, y, sample_weight)

        def plain(structure, *kinds):
            # One array may be both x and a label.
            names = {id(array): name for name, array in named.items() if name.startswith(kinds)}
            each = functools.partial(self._plain_array, names)
            return keras.tree.map_structure(each, structure)

        labels_and_directions = plain(y, "label", "directions")
        return plain(x, "x"), labels_and_directions, plain(sample_weight, "sample_weight")

    def _plain_array(self, names, array):
        name = names.get(id(array), "y")
        if not _dense(array):
            if array is not None and not name.startswith("x"):
                arrays.refuse_no_array(self.caller, name, array)
            return array
        missing = self.missing == "nan" and name.startswith("label")
        return arrays.plain_array(self.caller, name, array, missing)

    def _named(self, x, y, sample_weight):
        with errors_of(self.caller):
            return named_arrays(x, y, sample_weight, self.order)

    def _check_arrays(self, named, start=0, where="", at_least=1):
        hosted = {name: arrays.on_host(array) for name, array in named.items() if _dense(array)}
        numbers = {name: array for name, array in hosted.items() if array is not None}
        require.same_rows(self.caller, numbers, at_least)
        for name, array in numbers.items():
            self._check_array(name, array, start, where)
            if self.squared and array.dtype == np.float64:
                self._refuse_extreme(name + where, array)
        if self._partly_missing:
            self._partly_missing.check(self.caller, numbers, start, where)

    def _refuse_idle_weights(self, named):
        """Raise ValueError for weights by name of a term that has no labels."""
        labeled = {labels.term_of(name) for name in named if name.startswith("label ")}
        # A target supplies labels where there are none; of policies, those beside stored logits.
        if not labeled or (self.target and self.masked):
            return
        for name in named:
            _, weight, term = name.partition("sample_weight of ")
            if weight and term not in labeled:
                raise ValueError(
                    f"{self.caller}: sample_weight has {term!r}, and y has no label of that name."
                )

    def _refuse_extreme(self, name, array):
        largest = float(np.nanmax(np.abs(array), initial=0.0))
        if largest and not 1 / _EXTREME < largest < _EXTREME:
            raise ValueError(
                f"{self.caller}: {name} has numbers of up to {largest:.1g}, whose squares float64 "
                "cannot hold: take other units."
            )

    def _check_array(self, name, array, start, where):
        if array.dtype.kind in "OSU":
            return
        if name.startswith("sample_weight"):
            with errors_of(self.caller):
                refuse_wide(array, name + where)
        if self.masked and name == "label value" and not start:
            logits.warn_of_probabilities(self.caller, array)
        if len(array) and array.dtype in (np.float32, np.float64):
            low, high = self.ranges[name] = column_ranges(array)
            negative = name.startswith("sample_weight") and low.min(initial=0) < 0
            if are_finite(low, high) and not negative:
                return
        if name.startswith("sample_weight"):
            require.weights(self.caller, name + where, array, start)
            return
        label = name.startswith("label")
        missing = label and self.missing == "nan"
        if label and self.masked and array.dtype.kind == "f" and np.isneginf(array).any():
            array = self._without_masked_actions(name + where, array, start)
        if (wrong := require.first_row_not_finite(array, missing)) is None:
            return
        row, what = wrong
        advice = "every number of it must be finite."
        if label and what == "NaN":
            advice = 'correct it, or compile(missing="nan") to leave such entries out.'
        raise ValueError(
            f"{self.caller}: {name} has {what}, first in row {start + row}{where}: {advice}"
        )

    def _without_masked_actions(self, name, array, start):
        masked = np.isneginf(array)
        if (whole := masked.reshape(len(array), -1).all(axis=1)).any():
            raise ValueError(
                f"{self.caller}: {name} masks every action in row {start + int(np.argmax(whole))}: "
                "one must be possible."
            )
        return np.where(masked, 0, array)


def _all_missing(label):
    if label is None or label.dtype.kind != "f":
        return False
    return not label.size or bool(np.isnan(label.flat[0]) and np.isnan(label).all())


def _dense(array):
    return arrays.is_array(array) and not isinstance(array, tf.RaggedTensor | tf.SparseTensor)
