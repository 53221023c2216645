"""The loss of a critic: of the true loss, the true gradient, both, or dL/dy as well (section 4.3).

It is computed for each cut separately, so that critics may learn on separate devices.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import require, row_share
from sobolev_tf.jets import Jet, at_least_float32
from sobolev_tf.losses import SquaredNorm, batch_mean, per_example, resolve
from sobolev_tf.synthetic.batch import Batch
from sobolev_tf.synthetic.cut import Cut
from sobolev_tf.synthetic.methods import TERM_WEIGHTS
from sobolev_tf.synthetic.network_loss import label_gradient


@dataclasses.dataclass(frozen=True)
class CriticLoss:
    """A distance between a critic's jet and the true one (section 4.3, SM 4.1).

    Args:
      network_loss: the network's loss, a function of labels and outputs.
      losses: l of the values and l_1 of the gradients.
      weights: their weights.
      label_weight: weight of |dm/dy - dL/dy|^2.
      derivative_share: the share of the examples whose gradients are compared.
    """

    network_loss: keras.losses.Loss | Callable
    losses: tuple
    weights: tuple[float, float]
    label_weight: float
    derivative_share: float

    @classmethod
    def of(
        cls,
        method: str,
        network_loss: keras.losses.Loss | Callable,
        losses: Any,
        weights: Any,
        label_weight: float,
        derivative_share: float,
    ) -> "CriticLoss":
        """Make the critic loss of a method, whose own weights are multiplied by `weights`.

        Raises:
          ValueError: unless there are two losses and two weights, and one term counts; or if
            `label_weight` is not 0 for a method that predicts no loss.
        """
        for pair in (losses, weights):
            if not isinstance(pair, (list, tuple)) or len(pair) != 2 or None in pair:
                raise ValueError(
                    "critic_losses and critic_loss_weights are pairs, for values and gradients; "
                    f"got {pair}."
                )
        for weight in weights:
            require.number("critic_loss_weights", "a weight", weight, at_least=0)
        if label_weight and method == "direct":
            raise ValueError("label_weight needs a critic, not method='direct'.")
        weights = tuple(np.multiply(TERM_WEIGHTS.get(method, (0.0, 0.0)), weights))
        if method in TERM_WEIGHTS and not (any(weights) or label_weight):
            raise ValueError(f"{method} critics learn from nothing: all weights are 0.")
        losses = tuple(map(resolve, losses))
        return cls(network_loss, losses, weights, label_weight, derivative_share)

    def objective(
        self,
        cut: Cut,
        target: Jet,
        batch: Batch,
        outputs: tf.Tensor,
        track: Callable[[str, tf.Tensor], None],
        layer: Callable[..., Cut],
        step: tf.Tensor,
    ) -> tf.Tensor:
        """Compute l(m, L) + l_1(SG, dL/dh), weighted, and a mean over the batch: a scalar.

        Differentiable in the critic's weights; the caller gradient-stops target and network.

        Args:
          cut: with the critic's m [B], SG [B, *H] and outputs p(h) [B, *K].
          target: the true jet (L [B], dL/dh [B, *H]), per example.
          batch: labels and sample weights.
          outputs: the network's, [B, *K].
          track: called with "loss" and "gradient_loss" and the batch's value.
          layer: the one that made the cut; it predicts again where gradients of some examples are
            compared.
          step: the number of the update, which draws them.
        """
        total = 0.0
        terms = [
            ("loss", target.value, cut.predicted_loss, batch.sample_weight),
            ("gradient_loss", *self._gradients(cut, target, batch, layer, step)),
        ]
        for weight, distance, (name, true, predicted, sample_weight) in zip(
            self.weights, self.losses, terms, strict=True
        ):
            if predicted is None:  # direct: no loss is predicted
                continue
            value = per_example(distance, true, at_least_float32(predicted))
            value = batch_mean(value, sample_weight)
            track(name, value)
            if weight:
                total += weight * value
        if self.label_weight:
            true, predicted = (
                label_gradient(self.network_loss, batch.y, prediction)
                for prediction in (at_least_float32(outputs), cut.outputs)
            )
            value = batch_mean(per_example(SquaredNorm(), true, predicted), batch.sample_weight)
            total += self.label_weight * value
        return total

    def _gradients(self, cut, target, batch, layer, step):
        """Return dL/dh, SG and the weights of all examples, or of the share that is compared."""
        true, weight = target.derivatives[0], batch.sample_weight
        if self.derivative_share == 1 or not self.weights[1]:
            return true, cut.synthetic_gradient, weight
        # Predicted again: a gradient of some rows of SG would pass through all of them.
        h, y, true, weight = row_share.draw(
            (cut.h, batch.y, true, weight), self.derivative_share, step
        )
        drawn = layer(h, y, training=True, return_cut=True)
        return true, drawn.synthetic_gradient, weight
