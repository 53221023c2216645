"""Controls without critics: does a stage also learn from random or wrong gradients?

At every cut, the true gradient of full backpropagation is replaced by one of the same length for
each example. If a stage below a cut learns as well from a random one, it only needs to change.
"""

import numpy as np
import tensorflow as tf

from sobolev_tf.jets import at_least_float32


def replacement(
    method: str, gradient: tf.Tensor, cut: int, step: tf.Tensor | int, replica: tf.Tensor | int = 0
) -> tf.Tensor:
    """Return the gradient that a control uses at a cut in place of the true one.

    Args:
      method: "random", a random direction for every example and step; or "flipped", the true
        gradient with the other sign for half of the channels, the same half in all steps and runs.
      gradient: dL/dh [B,*H]; channels are its last axis.
      cut: number of the cut, from 0 at the bottom.
      step: training step; random directions are a function of cut, step and replica.
      replica: number of the replica.

    Returns:
      [B, *H], of the same dtype and the same length for each example.

    Example:

    >>> gradient = tf.constant([[3.0, 4.0], [0.0, 0.0]])
    >>> [round(float(t), 4) for t in tf.norm(replacement("random", gradient, 0, 0), axis=1)]
    [5.0, 0.0]
    """
    if method == "flipped":
        return gradient * tf.constant(signs(gradient.shape[-1], cut), gradient.dtype)
    wide = at_least_float32(gradient)
    seed = tf.stack([tf.cast(replica, tf.int32) * 1000 + cut, tf.cast(step, tf.int32)])
    # By name: the default algorithm is another one under XLA.
    drawn = tf.random.stateless_normal(tf.shape(wide), seed, dtype=wide.dtype, alg="philox")
    axes = list(range(1, wide.shape.rank))
    length, own = (tf.reduce_sum(t**2, axes, keepdims=True) ** 0.5 for t in (wide, drawn))
    return tf.cast(drawn * tf.math.divide_no_nan(length, own), gradient.dtype)


def signs(channels: int, cut: int) -> np.ndarray:
    """Return -1 for half of the channels (rounded down) and 1 for the others, float64 [C]."""
    values = np.ones(channels)
    values[np.random.default_rng(cut).permutation(channels)[: channels // 2]] = -1
    return values
