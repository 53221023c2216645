"""Arrays as endless data sets: the form in which Keras trains small data fast."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


def are_arrays(x: Any) -> bool:
    """Tell whether x is arrays, in any structure, and not a data set or a generator."""
    return all(isinstance(a, np.ndarray | tf.Tensor) for a in keras.tree.flatten(x))


def repeat_arrays(arrays: Any, batch_size: int, arguments: dict) -> tuple[tf.data.Dataset, dict]:
    """Turn arrays and arguments of `fit` into an endless data set and the arguments left.

    Args:
      arrays: [B,...], in any structure.
      batch_size: rows in a batch; all batches are full.
      arguments: those of `fit`. `shuffle` is done here; under `validation_split` the last rows
        become `validation_data`.

    Returns:
      The data set and the arguments that `fit` takes with it.
    """
    rest = dict(arguments)
    if share := rest.pop("validation_split", 0):
        arrays, held_out = split(arrays, share)
        rest["validation_data"] = held_out.batch(batch_size)
    return batches(arrays, batch_size, rest["shuffle"]), rest | {"shuffle": False}


def split(arrays: Any, share: float) -> tuple[Any, tf.data.Dataset]:
    """Split arrays [B,...] into their first rows and a data set of the last ones.

    Args:
      arrays: [B,...], in any structure.
      share: how many of all rows are the last ones.

    Returns:
      The first rows in the same structure, and the data set.

    Raises:
      ValueError: one side has no row.
    """
    rows = len(keras.tree.flatten(arrays)[0])
    cut = int(rows * (1 - share))
    if not 0 < cut < rows:
        raise ValueError(f"validation_split={share} leaves no row of {rows} on one side.")
    arrays = keras.tree.lists_to_tuples(arrays)
    first, last = (
        keras.tree.map_structure(lambda a, s=s: a[s], arrays)
        for s in (slice(cut), slice(cut, None))
    )
    return first, tf.data.Dataset.from_tensor_slices(last)


def batches(
    arrays: Any, batch_size: int, shuffle: bool = True, seed: int | None = None
) -> tf.data.Dataset:
    """Make an endless data set of full batches, in a new order at each pass.

    Whole batches are gathered, no example is handled by itself: on small data that is most of
    the cost of a step. A batch of all rows keeps their order.

    Args:
      arrays: [B,...], in any structure.
      batch_size: rows in a batch.
      shuffle: whether the order is random.
      seed: of the orders; by default a random one.

    Returns:
      The data set, of infinite cardinality.

    Example:

    >>> data = batches((np.arange(4), np.arange(4)), 2, seed=0).take(2)
    >>> sorted(int(i) for x, y in data for i in x)
    [0, 1, 2, 3]
    """
    arrays = keras.tree.map_structure(tf.convert_to_tensor, keras.tree.lists_to_tuples(arrays))
    rows = len(keras.tree.flatten(arrays)[0])
    if batch_size >= rows:
        return without_autotune(tf.data.Dataset.from_tensors(arrays).repeat())
    seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed

    def order(number):
        numbers = tf.range(rows)
        if not shuffle:
            return numbers
        return tf.random.experimental.stateless_shuffle(numbers, [tf.cast(seed, tf.int64), number])

    def take(numbers):
        return keras.tree.map_structure(lambda array: tf.gather(array, numbers), arrays)

    orders = tf.data.Dataset.counter().map(order)
    full = orders.rebatch(batch_size, drop_remainder=True).map(take).prefetch(2)
    known = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return without_autotune(full.apply(known))


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switch tf.data's tuner off: the end of an iterator may wait a minute for its thread."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
