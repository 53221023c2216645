"""The loss of a SobolevModel over all of its data, as a function of the weights only."""

from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.model import labels, terms
from sobolev_tf.model.missing import refuse_nan
from sobolev_tf.projections import FullDerivatives


class Problem:
    """All points and labels in one batch, for solvers that see them all at every step.

    Layers are in inference mode and random directions stay as they are. Made by
    `SobolevModel.problem`.

    Args:
      model: a `SobolevModel`, compiled.
      x, y, sample_weight: arrays as for `SobolevModel.fit`.

    Attributes:
      data: (x, labels) or (x, labels, weights) as tensors, by name of term.

    Raises:
      ValueError: for NaN in labels, unless the model leaves them out.

    Example:

    >>> from sobolev_tf import SobolevModel, nets
    >>> model = SobolevModel(nets.mlp(1, hidden=[8], activation="tanh"))
    >>> model.compile()
    >>> problem = model.problem(tf.ones([4, 1]), (tf.ones([4, 1]), tf.ones([4, 1])))
    >>> comparison = problem.compare()
    >>> bool(problem.loss() == problem.loss_of(comparison))
    True
    """

    def __init__(self, model: Any, x: Any, y: Any, sample_weight: Any) -> None:
        if model.missing is None:
            refuse_nan(y, model.order)
        batch = labels.as_batch(x, y, sample_weight, model.order)
        self.data = keras.tree.map_structure(
            tf.convert_to_tensor, keras.tree.lists_to_tuples(batch)
        )
        self.model = model

    def build(self) -> None:
        """Make the variables of a model that is not built yet."""
        self.model._cast(self.data[0])

    def loss(self) -> tf.Tensor:
        """Compute the loss at the model's weights: equation 1 with regularization, as `evaluate`.

        Nothing but missing labels is gradient-stopped.
        """
        return self.loss_of(self.compare())

    def compare(self) -> terms.Comparison:
        """Compute labels and predictions, by name of term, projections folded into the batch."""
        return self.model._compare(self.data, training=False)

    def loss_of(self, comparison: terms.Comparison) -> tf.Tensor:
        """Compute the loss as a function of what is predicted."""
        return self.model.compute_loss(*comparison, training=False)

    def predict_terms(self, x: Any, directions: dict[str, tf.Tensor], order: int) -> terms.Terms:
        """Compute the full terms of any rows, as `compare` does of all of them.

        Args:
          x: the net's inputs, [B,*in], as `Comparison.x` holds them.
          directions: "jvp" [B,P,*in] and "vjp" [B,P,*out], as in `data`; empty for none.
          order: the highest order to compute.

        Returns:
          Predicted terms by name, between z-scores.
        """
        model = self.model
        z = model.scaling.scale_x(model._inputs.point(x))
        scaled = terms.scale_directions(directions, z, model.output_dims, model.scaling)
        net = model._net_at(x, training=False)
        return terms.predicted_terms(net, z, order, FullDerivatives(), scaled)
