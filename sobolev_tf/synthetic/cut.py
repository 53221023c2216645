"""Cuts between two stages: what passes there, and gradients as functions of tensors."""

from typing import NamedTuple

import keras
import tensorflow as tf

from sobolev_tf.jets import at_least_float32


class Cut(NamedTuple):
    """The tensors of a forward pass at a cut.

    Args:
      h: [B,*H], the output of the stage below.
      h_out: [B,*H], the same values as input of the stage above.
      predicted_loss: m(h, y) [B]; None if no critic predicts one.
      synthetic_gradient: SG(h, y) [B, *H], per example; None if there is none.
      outputs: p(h) [B, *K], the critic's prediction of the network's outputs; None without one.
    """

    h: tf.Tensor
    h_out: tf.Tensor
    predicted_loss: tf.Tensor | None = None
    synthetic_gradient: tf.Tensor | None = None
    outputs: tf.Tensor | None = None


def replace_gradient(
    h: tf.Tensor, synthetic: tf.Tensor, weight: tf.Tensor | float = 1.0
) -> tf.Tensor:
    """Return h, whose gradient is `weight * synthetic` whatever arrives from above.

    Args:
      h: activations [B, *H].
      synthetic: per-example gradients [B, *H]; gradient-stopped.
      weight: scalar or [B].

    Example:

    >>> h = tf.Variable([[1.0, 2.0]])
    >>> with tf.GradientTape() as tape:
    ...     loss = 100.0 * replace_gradient(h, tf.constant([[3.0, 4.0]]), weight=0.5)
    >>> tape.gradient(loss, h).numpy().tolist()
    [[1.5, 2.0]]
    """
    gradient = tf.stop_gradient(tf.cast(scale_examples(synthetic, weight), h.dtype))

    @tf.custom_gradient
    def forward(h):
        return tf.identity(h), lambda _: gradient

    return forward(h)


def refuse_mask(h: tf.Tensor) -> tf.Tensor:
    """Return h; raise ValueError if it has a Keras mask, which would be lost at a cut."""
    if getattr(h, "_keras_mask", None) is not None:
        raise ValueError(
            "DecoupledModel: activations carry a Keras mask, which would be lost at a cut; use "
            "sample weights, and no mask_zero=True or Masking."
        )
    return h


def refuse_added_losses(stage: keras.Model, number: int) -> None:
    """Raise ValueError if a stage that has just run added losses of its activations.

    They are not in the loss L that critics learn, but their gradient would arrive at the cut below.
    Regularizers of weights are no such losses.

    Args:
      stage: above a cut.
      number: its number, from 1 at the bottom.
    """
    for layer in stage._flatten_layers():
        if layer._get_own_losses():
            raise ValueError(
                f"DecoupledModel: layer {layer.name!r} of stage {number} adds a loss of its "
                "activations (activity_regularizer or add_loss), which the gradients at the cuts "
                'leave out: regularize its weights, or take method="backprop".'
            )


def true_gradients(
    tape: tf.GradientTape, cuts: list[Cut], arriving: list[tf.Tensor]
) -> list[tf.Tensor]:
    """Compute dL/dh [B, *H] at every cut, by full backpropagation from the top one.

    Args:
      tape: a persistent tape that recorded the stages.
      cuts: from the bottom up.
      arriving: what arrives at every `h_out`; only the last, which is true, is read.
    """
    gradients = [arriving[-1]]
    for lower, upper in zip(cuts[-2::-1], cuts[:0:-1], strict=True):
        gradient = tape.gradient(upper.h, lower.h_out, output_gradients=gradients[0])
        gradients.insert(0, gradient)
    return gradients


def per_example_gradient(gradient: tf.Tensor, example_weights: tf.Tensor) -> tf.Tensor:
    """Divide an example's weight out of dL/dh [B, *H]: its own gradient; 0 at weight 0."""
    return scale_examples(gradient, tf.math.reciprocal_no_nan(example_weights))


def scale_examples(x: tf.Tensor, weight: tf.Tensor | float) -> tf.Tensor:
    """Multiply x [B, ...], in float32 or wider, by a scalar or per-example weight [B]."""
    x = at_least_float32(x)
    weight = tf.cast(weight, x.dtype)
    return x * tf.reshape(weight, tf.concat([tf.shape(weight), [1] * (x.shape.rank - 1)], 0))
