"""The loss of the network at its outputs, and its derivative in the labels (SM 4.1)."""

from collections.abc import Callable

import keras
import tensorflow as tf

from sobolev_tf.jets import jet
from sobolev_tf.keras_support.class_losses import (
    is_cross_entropy,
    labels_that_count,
    takes_classes,
)
from sobolev_tf.keras_support.logits import warn_about_logits
from sobolev_tf.losses import per_example, resolve

LOSS_CLASSES = {  # in Keras, names of losses stand for functions
    keras.losses.sparse_categorical_crossentropy: keras.losses.SparseCategoricalCrossentropy,
    keras.losses.categorical_crossentropy: keras.losses.CategoricalCrossentropy,
}


def network_loss(
    loss: keras.losses.Loss | Callable | str, net: keras.Model | None = None
) -> keras.losses.Loss | Callable:
    """Return a Keras loss or a function of (y, outputs).

    The name of a cross-entropy becomes an instance of its class.

    Args:
      loss: a Keras loss, its name, or a function.
      net: the last stage; there is a warning if it ends in probabilities and the loss takes logits,
        or the other way round.

    Raises:
      ValueError: if the loss is not a mean over the batch.

    Example:

    >>> network_loss("categorical_crossentropy").from_logits
    False
    """
    loss = resolve(loss)
    loss = LOSS_CLASSES[loss]() if loss in LOSS_CLASSES else loss
    warn_about_logits("compile", net, loss)
    return loss


def label_gradient(
    loss: keras.losses.Loss | Callable, y: tf.Tensor, outputs: tf.Tensor
) -> tf.Tensor:
    """Compute dL/dy [B, *K] of a loss L [B] of labels y and a network's outputs (SM 4.1).

    For a cross-entropy it is -log p of all classes, with y as the one-hot label also if labels are
    integers. Like L, it is a mean over the T labels of a sequence or an image, so that each has
    1/T of it; it is 0 for labels that do not count. The result is differentiable in the outputs.

    Args:
      loss: a function of labels and outputs.
      y: labels [B,...].
      outputs: [B,*out].

    Returns:
      [B,*out].

    Raises:
      ValueError: labels are integers, and the loss is not a cross-entropy.

    Example:

    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> [round(float(t), 4) for t in label_gradient(loss, tf.constant([1]), tf.zeros([1, 2]))[0]]
    [0.6931, 0.6931]
    """
    y, counts = tf.convert_to_tensor(y), None
    if is_cross_entropy(loss) and takes_classes(loss):
        classes = tf.cast(tf.reshape(y, tf.shape(outputs)[:-1]), tf.int32)
        counts = labels_that_count(loss, classes)
        y = tf.one_hot(classes, outputs.shape[-1], dtype=outputs.dtype)
        from_logits = getattr(loss, "from_logits", False)  # a function has it not
        loss = keras.losses.CategoricalCrossentropy(from_logits=from_logits)
    elif is_cross_entropy(loss):
        y = tf.cast(y, outputs.dtype)
    if not y.dtype.is_floating:
        raise ValueError(
            f"dL/dy needs a cross-entropy or labels that are floating; got {loss} and labels of "
            f"{y.dtype.name}."
        )
    gradient = jet(lambda y: per_example(loss, y, outputs), y).derivatives[0]
    return gradient if counts is None else tf.where(counts[..., None], gradient, 0)
