"""The loss of a SobolevModel over all data, as a function of the weights."""

import copy
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.keras_support import arrays
from sobolev_tf.keras_support.errors import errors_of
from sobolev_tf.model import terms


class Problem:
    """All points and labels in one batch, for full-batch solvers; made by `SobolevModel.problem`.

    Layers run in inference mode, and random directions are fixed.

    Args:
      model: a `SobolevModel`, compiled.
      x, y, sample_weight: arrays as for `SobolevModel.fit`.
      caller: the function that errors name; None for the model's `problem`.

    Attributes:
      data: (x, labels) or (x, labels, weights) as tensors, by name of term.
      directions: of jvp, vjp and hvp labels, by name; empty if there are none.

    Raises:
      ValueError: for data that the gate refuses, see `gate`.

    Example:

    >>> from sobolev_tf import SobolevModel, nets
    >>> model = SobolevModel(nets.mlp(1, hidden=[8], activation="tanh"))
    >>> model.compile()
    >>> problem = model.problem(tf.ones([4, 1]), (tf.ones([4, 1]), tf.ones([4, 1])))
    >>> comparison = problem.compare()
    >>> bool(problem.loss() == problem.loss_of(comparison))
    True
    """

    def __init__(
        self, model: Any, x: Any, y: Any, sample_weight: Any, caller: str | None = None
    ) -> None:
        gate = model._gate("problem", caller)
        if not arrays.are_arrays(x):
            raise ValueError(f"{gate.caller}: x is arrays of all points, got {require.shown(x)}.")
        batch = gate.arrays(x, y, sample_weight)
        gate.nothing_to_learn(batch[1])
        self.data = keras.tree.map_structure(
            tf.convert_to_tensor, keras.tree.lists_to_tuples(batch)
        )
        self.directions = self.data[1].get("directions", {})
        self.model, self.caller = model, gate.caller

    def at(self, data: tuple) -> "Problem":
        """Return the same problem with other data, such as the arguments of a compiled function.

        Args:
          data: in the structure of `data`; () for a copy that keeps no arrays alive.
        """
        problem = copy.copy(self)
        problem.data = data
        problem.directions = data[1].get("directions", {}) if data else {}
        return problem

    def assign(self, flat: tf.Tensor) -> None:
        """Set the model's trainable weights from one vector [N]."""
        variables = self.model.trainable_variables
        sizes = [int(np.prod(variable.shape)) for variable in variables]
        for variable, part in zip(variables, tf.split(flat, sizes), strict=True):
            variable.assign(tf.reshape(tf.cast(part, variable.dtype), variable.shape))

    def build(self) -> None:
        """Make the variables of a model that is not built yet."""
        self.model.build_for(self.data[0], self.caller)

    def loss(self) -> tf.Tensor:
        """Compute the loss at the model's weights: equation 1 with regularization, as `evaluate`.

        Nothing is gradient-stopped, except missing labels.
        """
        return self.loss_of(self.compare())

    def compare(self) -> terms.Comparison:
        """Compute labels and predictions by name of term; projections are folded into the batch."""
        with errors_of(self.caller):
            return self.model._compare(self.data, training=False)

    def loss_of(self, comparison: terms.Comparison) -> tf.Tensor:
        """Compute the loss as a function of the predictions."""
        return self.model.compute_loss(*comparison[:4], training=False)

    def full_terms(self, x: Any, order: int, directions: dict[str, tf.Tensor]) -> terms.Terms:
        """Compute the full terms of any rows, as `compare` does of all: see `Equation.full_terms`.

        Args:
          x: rows of `Comparison.x`.
          order: the highest order to compute.
          directions: rows of `directions`.

        Returns:
          Predicted terms by name, in z-scores.
        """
        return self.model.equation.full_terms(x, directions, order)
