"""Contractions of full derivatives with directions.

A jet along directions (`jets.projected_jet`, `jets.directional_jet`) never builds the full
derivative. These functions give the same for a derivative that exists: a label, or a black box's.
"""

from collections.abc import Sequence

import tensorflow as tf


def contract_outputs(d: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
    """Compute <d, v> over the output axes.

    Args:
      d: [B,*out,*rest].
      v: [B,P,*out].

    Returns:
      [B,P,*rest].

    Example:

    >>> contract_outputs(tf.ones([1, 2, 3]), tf.constant([[[1.0, 2.0]]])).numpy().tolist()
    [[[3.0, 3.0, 3.0]]]
    """
    v = tf.cast(v, d.dtype)
    rank = len(v.shape) - 1
    size = v.shape[2:].num_elements()
    rest = tf.shape(d)[rank:]
    flat = tf.reshape(d, tf.stack([tf.shape(d)[0], size, tf.reduce_prod(rest)]))
    product = tf.matmul(tf.reshape(v, [tf.shape(v)[0], v.shape[1], size]), flat)
    return reshape_static(product, [*v.shape[:2], *d.shape[rank:]], tf.shape(v)[:2], rest)


def contract_inputs(
    d: tf.Tensor, directions: Sequence[tf.Tensor], order: int | None = None
) -> tf.Tensor:
    """Compute D^j[v1, ..., vi], a derivative with its first i arguments filled in.

    Args:
      d: D^j [B,*out,*in × j].
      directions: v1, ..., vi, each [B,P,*in].
      order: j; by default i, the number of directions.

    Returns:
      [B,P,*out,*in × (j-i)].

    Example:

    >>> v = tf.constant([[[1.0, 2.0]]])
    >>> contract_inputs(tf.ones([1, 4, 2]), [v]).numpy().tolist()
    [[[3.0, 3.0, 3.0, 3.0]]]
    """
    dims = len(directions[0].shape) - 2
    rank = len(d.shape) - (order or len(directions)) * dims
    out = d.shape[1:rank].num_elements()
    batch, projections = tf.shape(d)[0], directions[0].shape[1]
    size = directions[0].shape[2:].num_elements()
    rest = tf.shape(d)[rank + len(directions) * dims :]
    flat = tf.reshape(d, [batch, 1, out, *[size] * len(directions), tf.reduce_prod(rest)])
    for v in directions:
        v = tf.cast(v, d.dtype)
        v = tf.reshape(v, [batch, projections, 1, size] + [1] * (len(flat.shape) - 4))
        flat = tf.reduce_sum(flat * v, 3)
    shape = [d.shape[0], projections, *d.shape[1:rank], *d.shape[rank + len(directions) * dims :]]
    return reshape_static(flat, shape, tf.stack([batch, projections]), tf.shape(d)[1:rank], rest)


def reshape_static(t: tf.Tensor, static: Sequence[int | None], *dynamic: tf.Tensor) -> tf.Tensor:
    """Reshape t, and keep what is known of the static shape.

    Args:
      t: any tensor.
      static: the new shape, with None for sizes that are known only at run time.
      dynamic: the new shape at run time, in parts that are concatenated.

    Returns:
      t in the new shape.
    """
    if all(n is not None for n in static):
        return tf.reshape(t, static)
    return tf.ensure_shape(tf.reshape(t, tf.concat(dynamic, 0)), static)
