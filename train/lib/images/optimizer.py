"""Optimizer, learning rate and L2 of the recipes of section 4.3."""

import math
from collections.abc import Sequence

import keras

from train.lib.run.settings import Settings


def make_optimizer(
    settings: Settings, schedule_steps: int, drops: Sequence[float]
) -> keras.optimizers.Optimizer:
    """Return the network's optimizer: Adam, or SGD with momentum 0.9, on the schedule."""
    rate = learning_rate(settings, schedule_steps, drops)
    if settings.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.SGD(rate, momentum=0.9)


def learning_rate(
    settings: Settings, schedule_steps: int, drops: Sequence[float]
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the schedule of --learning_rate.

    Args:
      settings: those of the command. Their `schedule` is "cosine", with a warm-up over the first
        twentieth of the steps, or "piecewise", a tenth at each drop.
      schedule_steps: number of steps of the schedule.
      drops: places of the drops, as shares of `schedule_steps`.
    """
    peak = settings.learning_rate
    if settings.schedule == "piecewise":
        rates = [peak / 10**k for k in range(len(drops) + 1)]
        # Keras counts steps from 0, and a boundary still has the rate before it.
        boundaries = [int(schedule_steps * drop) - 1 for drop in drops]
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    warm_up = math.ceil(schedule_steps / 20)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(schedule_steps - warm_up, 1), warmup_target=peak, warmup_steps=warm_up
    )


def add_l2(net: keras.Model, weight: float) -> None:
    """Add weight * |w|^2 of every kernel to the loss; biases and BatchNorm stay free."""
    for layer in net.layers:
        if hasattr(layer, "kernel"):
            layer.kernel_regularizer = keras.regularizers.L2(weight)
            layer.kernel.regularizer = layer.kernel_regularizer
