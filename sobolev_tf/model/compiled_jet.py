"""Compiled functions of a model besides Keras's: its jet, and what solvers evaluate."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from sobolev_tf import jets


class CompiledJet:
    """Values and derivatives, or their deviations, from a trace that can be forgotten.

    Args:
      jet: from a batch, as `Equation.cast` returns it, and more arguments to a `Jet`.
    """

    def __init__(self, jet: Callable) -> None:
        self._function = jet
        self.forget()

    def forget(self) -> None:
        """Trace the net anew at the next batch."""
        # Without AutoGraph, as Keras traces `predict`: errors stay as they are. TensorFlow warns of
        # many traces of the same code; those of other models do not count for a `partial`.
        function = functools.partial(self._function)
        self._jet = tf.function(function, reduce_retracing=True, autograph=False)

    def over(self, batches: Iterable[Any], *arguments: Any) -> jets.Jet:
        """Compute the jet at batches, as `Equation.cast` returns them: NumPy arrays of all rows."""
        parts = [self._jet(batch, *arguments) for batch in batches]
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
        """Return the compiled form of a function; compile it if there is none."""
        if function not in self._compiled:
            self._compiled[function] = make()
        return self._compiled[function]

    def forget(self) -> None:
        """Forget all functions: each is compiled again when it is next used."""
        self._compiled.clear()
