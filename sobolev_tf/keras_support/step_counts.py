"""What an optimizer counts: the batches that it has taken, beside the updates that it has made."""

import keras
import tensorflow as tf


def batches_taken(optimizer: keras.optimizers.Optimizer) -> tf.Tensor:
    """Return the number of batches whose gradients an optimizer has taken.

    `iterations` counts updates: with `gradient_accumulation_steps` it stands still for several
    batches, and what is drawn by it would be the same in each. Steps that loss scaling skips do not
    count.

    Example:

    >>> optimizer, weight = keras.optimizers.SGD(gradient_accumulation_steps=2), keras.Variable(1.0)
    >>> for _ in range(3):
    ...     optimizer.apply([tf.constant(1.0)], [weight])
    >>> int(optimizer.iterations), int(batches_taken(optimizer))
    (1, 3)
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of loss scaling
    return tf.convert_to_tensor(optimizer._iterations)
