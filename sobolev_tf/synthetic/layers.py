"""Synthetic gradients from loss-predicting critics (section 4.3, SM 4).

A critic m(h, y) = L(p(h), y) predicts the network's loss from activations h and labels y. Its
input gradient SG(h, y) = dm/dh, a *synthetic gradient*, stands in for dL/dh below the cut, so
that the part below need not wait for the part above. Training the critic is Sobolev training:
the jet (m, dm/dh) is held against the jet (L, dL/dh) of the network's loss.
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from sobolev_tf.jets import Jet, at_least_float32, jet
from sobolev_tf.losses import per_example
from sobolev_tf.synthetic.critics import cifar_critic, dense_critic, direct_module, imagenet_critic

__all__ = [  # what builds critics belongs to the public face of this module
    "DirectGradient",
    "SyntheticGradient",
    "cifar_critic",
    "dense_critic",
    "direct_module",
    "imagenet_critic",
]

CROSS_ENTROPIES = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalCrossentropy,
)
LOSS_CLASSES = {  # what Keras's names stand for are functions
    keras.losses.sparse_categorical_crossentropy: CROSS_ENTROPIES[0],
    keras.losses.categorical_crossentropy: CROSS_ENTROPIES[1],
}


@keras.saving.register_keras_serializable("sobolev_tf")
class SyntheticGradient(keras.layers.Layer):
    """Passes activations forward; hands the critic's gradient to whatever is below.

    Forward: h. Backward: weight * dm/dh, with m(h, y) = L(p(h), y), in place of the gradient
    that arrives from above. The critic p, and h inside m, are gradient-stopped on this path:
    nothing of the critic's own loss reaches the layers below.

    Args:
      critic: a Keras model p from h [B, *H] to what the network's output looks like [B, *K].
      loss: a Keras loss of labels and outputs; its values for single examples are used.

    >>> import keras
    >>> import tensorflow as tf
    >>> layer = SyntheticGradient(dense_critic((4,), 3), "mse")
    >>> h, y = tf.Variable(tf.ones([2, 4])), tf.zeros([2, 3])
    >>> with tf.GradientTape() as tape:
    ...     above = 0.0 * layer(h, y)  # no true gradient comes from above
    >>> synthetic = tape.gradient(above, h)
    >>> bool(tf.reduce_all(synthetic == layer.jet(h, y).derivatives[0]))
    True
    """

    def __init__(self, critic, loss, **kwargs):
        super().__init__(**kwargs)
        self.critic = critic
        self.loss = keras.losses.get(loss)

    def jet(self, h, y, training=None) -> Jet:
        """m [B] and its synthetic gradient SG = dm/dh [B, *H], per example.

        h is gradient-stopped. Differentiable in the critic's weights.
        """
        return self.jet_and_outputs(h, y, training)[0]

    def jet_and_outputs(self, h, y, training=None):
        """The critic's jet as `jet` gives it, and the outputs p(h) [B, *K] it was computed from."""
        h, y = tf.stop_gradient(tf.convert_to_tensor(h)), tf.convert_to_tensor(y)
        outputs = []

        def m(h):
            outputs.append(at_least_float32(self.critic(h, training=training)))
            return per_example(self.loss, y, outputs[-1])

        return jet(m, h), outputs[-1]

    def call(self, h, y, *, weight=1.0, training=None):
        """Returns h; below, its gradient is weight * SG(h, y).

        Args:
          h: activations [B, *H].
          y: labels [B, ...].
          weight: scalar or [B], what multiplies an example's loss in the objective: 1 for a
            sum over examples, 1/B for a mean.
        """
        return replace_gradient(h, self.jet(h, y, training).derivatives[0], weight)

    def compute_output_spec(self, h, *args, **kwargs):
        return keras.KerasTensor(h.shape, h.dtype)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        config = {"critic": serialize(self.critic), "loss": serialize(self.loss)}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        critic, loss = (deserialize(config.pop(name)) for name in ("critic", "loss"))
        return cls(critic, loss, **config)


@keras.saving.register_keras_serializable("sobolev_tf")
class DirectGradient(SyntheticGradient):
    """As `SyntheticGradient`, by a module that gives the gradient itself: SG = g(h, y).

    Direct synthetic gradients (Jaderberg et al., 2017): no loss is predicted, and SG need not be
    the gradient of anything. Labels are given to the module as floats, numbers of classes one-hot.

    Args:
      critic: a Keras model g from [h [B, *H], y [B, K]] to [B, *H], such as `direct_module`.
      loss: not used; it keeps both layers alike.
    """

    def jet_and_outputs(self, h, y, training=None):
        """(None, SG) as a jet, and None: there is no p(h)."""
        h, y = tf.stop_gradient(tf.convert_to_tensor(h)), tf.convert_to_tensor(y)
        shape = self.critic.inputs[1].shape[1:]
        if y.shape[1:] != shape:
            y = tf.one_hot(tf.cast(tf.reshape(y, [-1, *shape[:-1]]), tf.int32), shape[-1])
        y = tf.cast(y, at_least_float32(h).dtype)
        return Jet(None, (at_least_float32(self.critic([h, y], training=training)),)), None


def replace_gradient(h, synthetic, weight=1.0):
    """h, whose gradient is `weight * synthetic` whatever arrives from above.

    Args:
      h: activations [B, *H].
      synthetic: per-example gradients [B, *H]; gradient-stopped.
      weight: scalar or [B].
    """
    gradient = tf.stop_gradient(tf.cast(scale_examples(synthetic, weight), h.dtype))

    @tf.custom_gradient
    def forward(h):
        return tf.identity(h), lambda _: gradient

    return forward(h)


def refuse_mask(h):
    """h. Raises ValueError if it has a Keras mask, which would be lost at a cut."""
    if getattr(h, "_keras_mask", None) is not None:
        raise ValueError(
            "DecoupledModel: activations carry a Keras mask, which would be lost at a cut; use "
            "sample weights, and no mask_zero=True or Masking."
        )
    return h


class Cut(NamedTuple):
    """h [B, *H] as it left the stage below and entered the one above; (m, SG), and p(h)."""

    h: tf.Tensor
    h_out: tf.Tensor
    prediction: Jet | None
    outputs: tf.Tensor | None


def true_gradients(tape, cuts, arriving):
    """dL/dh at every cut, by full backpropagation from what arrives at the top one."""
    gradients = [arriving[-1]]
    for lower, upper in zip(cuts[-2::-1], cuts[:0:-1], strict=True):
        gradient = tape.gradient(upper.h, lower.h_out, output_gradients=gradients[0])
        gradients.insert(0, gradient)
    return gradients


def per_example_gradient(gradient, share):
    """An example's own dL/dh from its share in the objective's; 0 where the weight is 0."""
    return scale_examples(gradient, tf.math.reciprocal_no_nan(share))


def label_gradient(loss, y, outputs):
    """dL/dy [B, *K] of a loss of labels y and a network's outputs [B, *K] (SM 4.1).

    For a cross-entropy it is -log p over all classes, y the one-hot label; integer labels stand
    for theirs. Differentiable in the outputs.

    Raises:
      ValueError: for integer labels under any other loss.

    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> [round(float(t), 4) for t in label_gradient(loss, tf.constant([1]), tf.zeros([1, 2]))[0]]
    [0.6931, 0.6931]
    """
    if isinstance(loss, CROSS_ENTROPIES):
        if loss.from_logits:
            return -tf.nn.log_softmax(outputs)
        return -tf.math.log(tf.maximum(outputs, keras.config.epsilon()))
    y = tf.convert_to_tensor(y)
    if not y.dtype.is_floating:
        raise ValueError(
            f"dL/dy needs a cross-entropy or labels that are floating; given {loss} and labels of "
            f"{y.dtype.name}."
        )
    return jet(lambda y: per_example(loss, y, outputs), y).derivatives[0]


def compare(synthetic, true):
    """Cosine and norm ratio |SG| / |dL/dh| of two gradients [B, *H], over the whole batch.

    Zero where a norm is zero.

    >>> [float(t) for t in compare(tf.constant([[0.0, 3.0]]), tf.constant([[0.0, 6.0]]))]
    [1.0, 0.5]
    """
    synthetic, true = at_least_float32(synthetic), at_least_float32(true)
    norms = tf.norm(synthetic), tf.norm(true)
    product = tf.reduce_sum(synthetic * true)
    return (
        tf.math.divide_no_nan(product, norms[0] * norms[1]),
        tf.math.divide_no_nan(*norms),
    )


def scale_examples(x, weight):
    """x [B, ...], in float32 or wider, times a scalar or per-example weight [B]."""
    x = at_least_float32(x)
    weight = tf.cast(weight, x.dtype)
    return x * tf.reshape(weight, tf.concat([tf.shape(weight), [1] * (x.shape.rank - 1)], 0))
