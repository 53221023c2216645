"""Targets in z-scores: what the net is compared with after `adapt`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from sobolev_tf import jets
from sobolev_tf.jets import contractions
from sobolev_tf.keras_support.shapes import batch_shape
from sobolev_tf.model.scaling import Scaling


class ScaledTarget:
    """A target f as g, from z [B,*in] to [B,*out], differentiated like the net.

    Args:
      target: f, from x [B,*in] to [B,*out], in the user's units.
      scaling: the `Scaling` between.
    """

    def __init__(self, target: Any, scaling: Scaling) -> None:
        self.target, self.scaling = target, scaling

    def __call__(self, z: tf.Tensor) -> tf.Tensor:
        """Compute g(z) [B,*out]."""
        return self.scaling.scale_y(self.target(self.scaling.unscale_x(z)))


class ScaledBlackBox(ScaledTarget):
    """A target that knows its own jets, f, as g: it is called in the user's units.

    Its methods are those of `targets.FiniteDifferences`, in z-scores.

    Raises:
      InvalidArgumentError: it has other outputs than the net.
    """

    def jet(self, z: tf.Tensor, order: int) -> jets.Jet:
        """Compute g(z) and D^j g(z) [B,*out,*in × j], j = 1..order."""
        jet = self._checked(self.target.jet(self.scaling.unscale_x(z), order), z)
        value = self._value(jet.value, z)
        derivatives = (
            self.scaling.scale_derivative(jets.reshape_derivative(d, value.shape[1:], z, j), j)
            for j, d in enumerate(jet.derivatives, 1)
        )
        return jets.Jet(value, tuple(derivatives))

    def directional_jet(self, z: tf.Tensor, directions: Sequence[tf.Tensor]) -> jets.Jet:
        """Compute g(z) and D^j g[v1, ..., vj] [B,P,*out], for directions vj [B,P,*in]."""
        unscaled = [self.scaling.unscale_directions(v) for v in directions]
        jet = self._checked(self.target.directional_jet(self.scaling.unscale_x(z), unscaled), z)
        value = self._value(jet.value, z)
        shape = [-1, directions[0].shape[1], *value.shape[1:]] if directions else None
        derivatives = (self.scaling.scale_jvp(tf.reshape(d, shape)) for d in jet.derivatives)
        return jets.Jet(value, tuple(derivatives))

    def projected_jet(self, z: tf.Tensor, order: int, directions: Callable) -> jets.Jet:
        """Compute g(z) and D^j <g, v> [B,P,*in × j], v = directions(g(z)) [B,P,*out]."""
        jet = self.jet(z, order)
        v = directions(jet.value)
        contracted = (contractions.contract_outputs(d, v) for d in jet.derivatives)
        return jets.Jet(jet.value, tuple(contracted))

    def partial_jet(self, z: tf.Tensor, v: tf.Tensor, order: int) -> jets.Jet:
        """Compute g(z) and D^j g[v, ...] [B,P,*out,*in × (j-1)], for v [B,P,*in]."""
        unscaled = self.scaling.unscale_directions(v)
        jet = self._checked(self.target.partial_jet(self.scaling.unscale_x(z), unscaled, order), z)
        value, inputs = self._value(jet.value, z), list(z.shape[1:])
        # D^j[v, ...] has one axis of inputs less than D^j, and one of projections more.
        derivatives = (
            self.scaling.scale_derivative(
                tf.reshape(d, [-1, v.shape[1], *value.shape[1:], *inputs * j]), j
            )
            for j, d in enumerate(jet.derivatives)
        )
        return jets.Jet(value, tuple(derivatives))

    def _checked(self, jet, z):
        """The jet, or an error if the black box has other outputs than the net."""
        outputs = self.scaling.value_mean.shape
        size = tf.shape(z)[0] * math.prod(outputs)
        message = f"target: the black box returns other shapes than the net, {batch_shape(outputs)}"
        check = tf.debugging.assert_equal(tf.size(jet.value), size, message)
        with tf.control_dependencies([check] if check is not None else []):
            return jets.Jet(tf.identity(jet.value), tuple(map(tf.identity, jet.derivatives)))

    def _value(self, value, z):
        return self.scaling.scale_y(
            jets.reshape_derivative(value, self.scaling.value_mean.shape, z, 0)
        )


def scale_target(target: Any, scaling: Scaling) -> ScaledTarget:
    """Return a target in z-scores, with jets of its own if `target` has them."""
    kind = ScaledBlackBox if hasattr(target, "jet") else ScaledTarget
    return kind(target, scaling)
