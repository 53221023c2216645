"""Arrays that `fit` was given, in the form in which Keras trains small data fast."""

import keras
import numpy as np
import tensorflow as tf


def are_arrays(x) -> bool:
    """Whether x is arrays, in any structure, and not a dataset or a generator."""
    return all(isinstance(a, np.ndarray | tf.Tensor) for a in keras.tree.flatten(x))


def repeat_arrays(arrays, batch_size: int, arguments: dict) -> tuple:
    """Shuffled full batches of arrays [B,...] without end, and what is left of fit's `arguments`.

    The last rows become `validation_data` under `validation_split`; `shuffle` is done here.
    """
    rest = dict(arguments)
    if share := rest.pop("validation_split", 0):
        arrays, held_out = split(arrays, share)
        rest["validation_data"] = held_out.batch(batch_size)
    return batches(arrays, batch_size, rest["shuffle"]), rest | {"shuffle": False}


def split(arrays, share: float):
    """The first rows of arrays [B,...], and a data set of the last ones, `share` of all."""
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


def batches(arrays, batch_size: int, shuffle: bool = True, seed: int | None = None):
    """Full batches of arrays [B,...] in any structure, without end, in a new order at each pass.

    Whole batches are gathered, no example is handled by itself: on small data that is most of
    the cost of a step. A batch of all rows keeps their order.

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


def without_autotune(dataset):
    """The dataset without tf.data's tuner: an iterator's end may wait a minute for it to wake."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
