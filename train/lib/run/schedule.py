"""How long a net is trained, at which rate, and its L2: what the recipes of section 4.3 share."""

import math

import keras

from train.lib.run.errors import UsageError


def length(settings, steps_per_epoch):
    """(epochs, steps an epoch, updates of the schedule).

    --epochs passes over the data, or --steps in equal pieces; a schedule of --updates may be
    longer than either.
    """
    if "epochs" in settings.given and "steps" in settings.given:
        raise UsageError("--epochs and --steps both say how long to train: give one of them")
    if settings.epochs:
        epochs, steps = settings.epochs, steps_per_epoch
        return epochs, steps, max(settings.updates or 0, epochs * steps)
    schedule_alone = "updates" in settings.given and "steps" not in settings.given
    steps = settings.updates if schedule_alone else settings.steps
    updates = settings.updates or steps
    if steps > updates:
        raise UsageError(f"--steps={steps} is past the end of --updates={updates}")
    return *pieces(steps, settings.evaluations), updates


def pieces(steps, most):
    """(n, steps / n): at most `most` equal pieces.

    >>> pieces(100, 30)
    (25, 4)
    """
    count = next(n for n in range(min(most, steps), 0, -1) if steps % n == 0)
    return count, steps // count


def learning_rate(settings, updates, drops):
    """The schedule of --rate over `updates` steps: a cosine, or a tenth at each of `drops`."""
    if settings.schedule == "steps":
        rates = [settings.rate / 10**k for k in range(len(drops) + 1)]
        boundaries = [int(updates * drop) for drop in drops]
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    warm_up = math.ceil(updates / 20)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(updates - warm_up, 1), warmup_target=settings.rate, warmup_steps=warm_up
    )


def add_l2(net, weight):
    """Adds weight * |w|^2 of every kernel to the loss; biases and BatchNorm stay free."""
    for layer in net.layers:
        if hasattr(layer, "kernel"):
            layer.kernel_regularizer = keras.regularizers.L2(weight)
            layer.kernel.regularizer = layer.kernel_regularizer
