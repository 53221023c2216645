"""Keras's loss scaling for half-precision nets."""

import keras


def uses_loss_scaling(optimizer: keras.optimizers.Optimizer) -> bool:
    """Tell whether an optimizer scales the loss and skips steps whose gradients are not finite.

    >>> uses_loss_scaling(keras.optimizers.SGD())
    False
    """
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
