"""The jet of a model's net at batches of x, compiled."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from sobolev_tf import jets
from sobolev_tf.model.equation import Equation


class CompiledJet:
    """Values and full derivatives of an equation's net, from a trace that can be forgotten.

    Args:
      equation: the net with its inputs and scaling.
    """

    def __init__(self, equation: Equation) -> None:
        self._equation = equation
        self.forget()

    def forget(self) -> None:
        """Trace the net anew at the next batch."""
        # Without AutoGraph, as Keras traces `predict`: errors stay as they are.
        self._jet = tf.function(self._equation.jet, reduce_retracing=True, autograph=False)

    def over(self, batches: Iterable[Any]) -> jets.Jet:
        """Compute the jet at batches, as `Equation.cast` returns them: NumPy arrays of all rows."""
        parts = [self._jet(batch) for batch in batches]
        terms = zip(*((part.value, *part.derivatives) for part in parts), strict=True)
        value, *derivatives = map(np.concatenate, terms)
        return jets.Jet(value, tuple(derivatives))
