"""Keras's loss scaling for half-precision nets."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.keras_support.compile_settings import optimizer_of


def uses_loss_scaling(optimizer: keras.optimizers.Optimizer) -> bool:
    """Tell whether an optimizer scales the loss and skips steps whose gradients are not finite.

    >>> uses_loss_scaling(keras.optimizers.SGD())
    False
    """
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def scale_half_precision(
    optimizer: Any, layers: Iterable[keras.layers.Layer], automatic: bool = True
) -> keras.optimizers.Optimizer:
    """Return the optimizer with Keras's dynamic loss scaling if a layer computes in float16.

    Args:
      optimizer: a Keras optimizer, or what `keras.optimizers.get` takes.
      layers: all layers of the model.
      automatic: Keras's `auto_scale_loss`; False leaves the optimizer as it is.
    """
    optimizer = optimizer_of("optimizer", optimizer)
    half = any(layer.compute_dtype == "float16" for layer in layers)
    if automatic and half and not uses_loss_scaling(optimizer):
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def scaled_like(
    other: keras.optimizers.Optimizer, optimizer: keras.optimizers.Optimizer
) -> keras.optimizers.Optimizer:
    """Return the optimizer, with dynamic loss scaling where `other` has it.

    >>> type(scaled_like(keras.optimizers.SGD(), keras.optimizers.Adam())).__name__
    'Adam'
    """
    if uses_loss_scaling(other) and not uses_loss_scaling(optimizer):
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def skipped_together(optimizer: keras.optimizers.Optimizer, gradients: Sequence) -> list:
    """Return a replica's gradients; NaN with loss scaling, if those of any replica are not finite.

    Keras decides by the first replica's gradients whether a step is skipped, and would apply
    what is not finite in the others'.

    Args:
      optimizer: the one that the gradients are for.
      gradients: this replica's, one for each variable; None where there is none.
    """
    if not uses_loss_scaling(optimizer) or tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return list(gradients)
    finite = [True, *(tf.reduce_all(tf.math.is_finite(g)) for g in gradients if g is not None)]
    lost = tf.where(tf.reduce_all(finite), 0.0, float("nan"))
    lost = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, lost)
    return [g if g is None else g + tf.cast(lost, g.dtype) for g in gradients]
