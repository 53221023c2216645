"""What a critic is trained on: the true loss, the true gradient, both, or dL/dy too (section 4.3).

One cut at a time, so that critics may learn on devices of their own.
"""

from typing import NamedTuple

import numpy as np

from sobolev_tf.jets import at_least_float32
from sobolev_tf.losses import SquaredNorm, batch_mean, per_example, resolve
from sobolev_tf.synthetic.layers import label_gradient

# Weights of |m - L| and of |SG - dL/dh|. `noprop` has no module and sends nothing below a cut;
# `backprop` has none either, and is plain training.
TERM_WEIGHTS = {
    "sobolev": (1.0, 1.0),
    "critic": (1.0, 0.0),
    "vfbn": (0.0, 1.0),
    "direct": (0.0, 1.0),
}
METHODS = (*TERM_WEIGHTS, "noprop", "backprop")


class CriticLoss(NamedTuple):
    """How the true jet and the critic's are held against each other.

    weights, losses: of values and of gradients; label_weight: of |dm/dy - dL/dy|^2.
    """

    weights: tuple
    losses: tuple
    label_weight: float

    @classmethod
    def of(cls, method, losses, weights, label_weight):
        """That of a method, whose own weights of the two terms are multiplied by `weights`.

        Raises ValueError unless there are two of each, and one of them counts.
        """
        for pair in (losses, weights):
            if not isinstance(pair, (list, tuple)) or len(pair) != 2 or None in pair:
                raise ValueError(
                    "compile: critic_losses and critic_loss_weights are pairs, for values and "
                    f"gradients; given {pair}."
                )
        weights = tuple(np.multiply(TERM_WEIGHTS.get(method, (0.0, 0.0)), weights))
        if method in TERM_WEIGHTS and not (any(weights) or label_weight):
            raise ValueError(f"compile: {method} critics learn from nothing: all weights are 0.")
        return cls(weights, tuple(map(resolve, losses)), label_weight)

    def objective(self, cut, target, loss, y, outputs, sample_weight, track):
        """l(m, L) + l_1(SG, dL/dh), weighted, and a mean over the batch: a scalar.

        Differentiable in the critic's weights; the target and the network are gradient-stopped
        as the caller has them.

        Args:
          cut: a `synthetic.Cut`, with the critic's jet (m [B], SG [B, *H]) and its outputs p(h).
          target: the true jet (L [B], dL/dh [B, *H]), per example.
          loss: the network's, of labels y and of the network's `outputs` [B, *K].
          track: called with "loss" and "gradient_loss" and the batch's value.
        """
        total = 0.0
        terms = [
            ("loss", target.value, cut.prediction.value),
            ("gradient_loss", target.derivatives[0], cut.prediction.derivatives[0]),
        ]
        for weight, distance, (name, true, predicted) in zip(
            self.weights, self.losses, terms, strict=True
        ):
            if predicted is None:  # direct: no loss is predicted
                continue
            value = batch_mean(
                per_example(distance, true, at_least_float32(predicted)), sample_weight
            )
            track(name, value)
            if weight:
                total += weight * value
        if self.label_weight:
            true, predicted = (
                label_gradient(loss, y, each) for each in (at_least_float32(outputs), cut.outputs)
            )
            value = batch_mean(per_example(SquaredNorm(), true, predicted), sample_weight)
            total += self.label_weight * value
        return total
