"""What a model has compiled beside Keras's functions: its jet, and what solvers evaluate."""

from collections.abc import Callable, Iterable
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


class CompiledFunctions:
    """Compiled functions by what they were made of, until they are forgotten.

    Example:

    >>> functions = CompiledFunctions()
    >>> one = functions.get(len, object)
    >>> functions.get(len, object) is one
    True
    """

    def __init__(self) -> None:
        self._compiled: dict[Callable, Any] = {}

    def get(self, function: Callable, make: Callable[[], Any]) -> Any:
        """Return what was compiled of a function; make it where there is none."""
        if function not in self._compiled:
            self._compiled[function] = make()
        return self._compiled[function]

    def forget(self) -> None:
        """Make all of them anew when they are next used."""
        self._compiled.clear()
