"""Layers that put a synthetic gradient at a cut (section 4.3, SM 4).

A critic m(h, y) = L(p(h), y) predicts the network's loss from activations h and labels y. Its
input gradient SG(h, y) = dm/dh, the *synthetic gradient*, replaces dL/dh below the cut, so that
the stage below does not wait for those above. Training the critic is Sobolev training: its jet
(m, dm/dh) learns the jet (L, dL/dh) of the network's loss.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.jets import Jet, at_least_float32, jet
from sobolev_tf.keras_support.class_losses import refuse_broadcast
from sobolev_tf.keras_support.graph_errors import OneLineLayer
from sobolev_tf.losses import per_example
from sobolev_tf.synthetic.cut import Cut, replace_gradient


class _CutLayer(OneLineLayer):
    """Base class: h forward, weight * SG(h, y) backward."""

    def __init__(self, critic, **kwargs):
        # No autocast: under mixed precision Keras would round labels and weights to half.
        super().__init__(autocast=False, **kwargs)
        if not isinstance(critic, keras.layers.Layer):
            got = require.shown(critic)
            raise ValueError(f"{type(self).__name__}: critic is a Keras model, got {got}.")
        self.critic = critic

    def call(
        self,
        h: tf.Tensor,
        y: tf.Tensor,
        *,
        weight: tf.Tensor | float = 1.0,
        training: bool | None = None,
        return_cut: bool = False,
    ) -> tf.Tensor | Cut:
        """Return h, with weight * SG(h, y) as its gradient below the cut.

        Args:
          h: activations [B,*H].
          y: labels [B,...].
          weight: scalar or [B], the factor of an example's loss in the objective: 1 for a sum over
            examples, 1/B for a mean.
          training: whether the critic runs in training mode, as in Keras.
          return_cut: whether to return a `Cut` instead: h as `h_out`, with all that the critic
            predicted, which is differentiable in the critic's weights. The critic can then be
            trained without a second forward pass.

        Returns:
          h [B,*H], or a `Cut`.
        """
        predicted_loss, gradient, outputs = self._predict(h, y, training)
        h_out = replace_gradient(h, gradient, weight)
        return Cut(h, h_out, predicted_loss, gradient, outputs) if return_cut else h_out

    def _predict(self, h, y, training):
        """Return (m [B] or None, SG [B,*H], p(h) [B,*out] or None), with h gradient-stopped."""
        raise NotImplementedError

    def _rows(self, h, y):
        """h, gradient-stopped, and y as tensors of as many rows."""
        h, y = tf.stop_gradient(tf.convert_to_tensor(h)), tf.convert_to_tensor(y)
        if not h.shape[:1].is_compatible_with(y.shape[:1]):
            raise ValueError(
                f"{type(self).__name__}: h has shape {list(h.shape)} and y {list(y.shape)}: each "
                "row of h needs one of y."
            )
        return h, y

    def compute_output_spec(
        self, h: keras.KerasTensor, *args: Any, **kwargs: Any
    ) -> keras.KerasTensor:
        return keras.KerasTensor(h.shape, h.dtype)

    def get_config(self) -> dict[str, Any]:
        critic = keras.saving.serialize_keras_object(self.critic)
        return {**super().get_config(), "critic": critic}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "_CutLayer":
        deserialize = keras.saving.deserialize_keras_object
        objects = {name: deserialize(config[name]) for name in ("critic", "loss") if name in config}
        return cls(**(config | objects))


@keras.saving.register_keras_serializable("sobolev_tf")
class SyntheticGradient(_CutLayer):
    """A layer that passes activations forward, and a critic's gradient backward.

    Forward, it returns h. Backward, it replaces the gradient that arrives from above by
    weight * dm/dh, where m(h, y) = L(p(h), y). The critic p, and h inside m, are gradient-stopped
    on this path: nothing of the critic's own loss reaches the layers below. `DecoupledModel` uses
    these layers; they also work in a model and training loop of your own.

    Args:
      critic: a Keras model p that predicts the network's output [B,*out] from h [B,*H].
      loss: a Keras loss of labels and outputs, of which the values of single examples are used.
        None if it is set later, as by `DecoupledModel.compile`.

    Example:

    >>> import keras
    >>> import tensorflow as tf
    >>> from sobolev_tf.synthetic import dense_critic
    >>> layer = SyntheticGradient(dense_critic((4,), 3), "mse")
    >>> h, y = tf.Variable(tf.ones([2, 4])), tf.zeros([2, 3])
    >>> with tf.GradientTape() as tape:
    ...     above = 0.0 * layer(h, y)  # no true gradient comes from above
    >>> synthetic = tape.gradient(above, h)
    >>> bool(tf.reduce_all(synthetic == layer.jet(h, y).derivatives[0]))
    True
    """

    def __init__(
        self, critic: keras.Model, loss: keras.losses.Loss | Callable | str | None = None, **kwargs
    ) -> None:
        super().__init__(critic, **kwargs)
        self.loss = keras.losses.get(loss)

    def jet(self, h: tf.Tensor, y: tf.Tensor, training: bool | None = None) -> Jet:
        """Compute m [B] and the synthetic gradient SG = dm/dh [B,*H] of every example.

        h is gradient-stopped; the result is differentiable in the critic's weights.

        Args:
          h: activations [B,*H].
          y: labels [B,...].
          training: whether the critic runs in training mode, as in Keras.

        Returns:
          A `Jet`: value [B], one derivative [B,*H].
        """
        value, gradient, _ = self._predict(h, y, training)
        return Jet(value, (gradient,))

    def _predict(self, h, y, training):
        if self.loss is None:
            raise ValueError(
                f"SyntheticGradient: {self.name!r} has no loss; pass one, as in "
                "SyntheticGradient(critic, loss), or compile its model."
            )
        h, y = self._rows(h, y)
        outputs = []

        def m(h):
            outputs.append(at_least_float32(self.critic(h, training=training)))
            refuse_broadcast(self.loss, y, outputs[-1].shape)
            return per_example(self.loss, y, outputs[-1])

        value, (gradient,) = jet(m, h)
        return value, gradient, outputs[-1]

    def get_config(self) -> dict[str, Any]:
        loss = keras.saving.serialize_keras_object(self.loss)
        return {**super().get_config(), "loss": loss}


@keras.saving.register_keras_serializable("sobolev_tf")
class DirectGradient(_CutLayer):
    """A layer like `SyntheticGradient` whose module predicts the gradient itself: SG = g(h, y).

    These are direct synthetic gradients (Jaderberg et al., 2017): no loss is predicted, and SG need
    not be the gradient of a function. Labels are passed as floats, class indices as one-hot rows.

    Args:
      critic: the module g, a Keras model from [h [B,*H], y [B,K]] to [B,*H], such as
        `direct_module`.
    """

    def _predict(self, h, y, training):
        h, y = self._rows(h, y)
        shape = self.critic.inputs[1].shape[1:]
        if y.shape[1:] != shape:
            y = tf.one_hot(tf.cast(tf.reshape(y, [-1, *shape[:-1]]), tf.int32), shape[-1])
        y = tf.cast(y, at_least_float32(h).dtype)
        return None, at_least_float32(self.critic([h, y], training=training)), None

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DirectGradient":
        # Older files name a loss, which was not used.
        config = {name: value for name, value in config.items() if name != "loss"}
        return super().from_config(config)
