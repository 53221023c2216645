"""Keras's loss scaling for half-precision nets."""

from collections.abc import Iterable
from typing import Any

import keras

from sobolev_tf.keras_support.compile_settings import optimizer_of


def uses_loss_scaling(optimizer: keras.optimizers.Optimizer) -> bool:
    """Tell whether an optimizer scales the loss and skips steps whose gradients are not finite.

    >>> uses_loss_scaling(keras.optimizers.SGD())
    False
    """
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def scale_half_precision(
    optimizer: Any, layers: Iterable[keras.layers.Layer]
) -> keras.optimizers.Optimizer:
    """Return the optimizer with Keras's dynamic loss scaling if a layer computes in float16.

    Args:
      optimizer: a Keras optimizer, or what `keras.optimizers.get` takes.
      layers: all layers of the model.
    """
    optimizer = optimizer_of("optimizer", optimizer)
    half = any(layer.compute_dtype == "float16" for layer in layers)
    if half and not uses_loss_scaling(optimizer):
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
