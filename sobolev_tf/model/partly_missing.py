"""Partly missing labels: which a model can learn from, and which it refuses."""

import dataclasses
import math

import numpy as np

from sobolev_tf.model import labels
from sobolev_tf.model.lost_entries import refuse_lost
from sobolev_tf.model.objective import Objective
from sobolev_tf.projections import Projection


@dataclasses.dataclass(frozen=True)
class PartlyMissing:
    """Tells which labels of a model with missing="nan" may be partly missing.

    A random direction mixes the entries of a derivative, and some losses compare the entries of a
    row with each other. There, known entries beside missing ones would be lost, or misread.

    Args:
      order: J.
      objective: the model's losses.
      projection: the model's, or None for full derivatives.
      outputs, inputs: *out and *in, or None for a model that is not built.
    """

    order: int
    objective: Objective
    projection: Projection | None = None
    outputs: tuple[int, ...] | None = None
    inputs: tuple[int, ...] | None = None

    def names(self) -> frozenset[str]:
        """Return the terms whose labels `check` must see if entries of them are missing."""
        terms = labels.names(self.order)
        if self.outputs is None or self.inputs is None:
            return frozenset(terms)  # which are compared is not known yet
        sizes = {n: (1, *self.outputs, *self.inputs * labels.order_of(n))[-1] for n in terms}
        compared = {name for name in terms if self.objective.couples(name, sizes[name])}
        mixed = {*labels.all_terms(self.order)} - {"value"} if self.projection else set()
        return frozenset(compared | mixed)

    def check(
        self, caller: str, named: dict[str, np.ndarray], start: int = 0, where: str = ""
    ) -> None:
        """Refuse labels whose known entries would be lost or misread.

        Args:
          caller: the method that errors name.
          named: arrays as `named_arrays` calls them.
          start: the number of the first row.
          where: which batch, for errors.

        Raises:
          ValueError: names the label and the first such row.
        """
        named = self._joined(named)
        if self.projection is not None and self.inputs is not None:
            by_name = {name.removeprefix("label "): array for name, array in named.items()}
            refuse_lost(caller, by_name, self.projection, len(self.inputs), start, where)
        for name, array in named.items():
            derivative = name.startswith("label d") and self.projection is None
            if derivative or name.startswith("label value"):  # others have axes of their own
                self.objective.refuse_partly_missing(caller, name, array, start, where)

    def _joined(self, named):
        """Arrays by name, where a label that comes by input is one array [B,K,D]."""
        by_input: dict[str, list] = {}
        for name, array in named.items():
            if name.startswith("label ") and "[" in name:
                by_input.setdefault(f"label {labels.term_of(name)}", []).append(array)
        joined = {name: array for name, array in named.items() if "[" not in name}
        outputs = math.prod(self.outputs or ())
        for name, arrays in by_input.items():
            if len(arrays) == 1:
                joined[name] = arrays[0]
            elif all(len(a) and a.size % (len(a) * outputs) == 0 for a in arrays):
                flat = [a.reshape(len(a), outputs, -1) for a in arrays]
                joined[name] = np.concatenate(flat, axis=-1)
        return joined
