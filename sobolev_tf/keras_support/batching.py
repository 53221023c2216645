"""Arrays as data sets: endless ones, which Keras trains on fast, and passes that round nothing."""

from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import require


def split(caller: str, arrays: Any, share: float) -> tuple[Any, Any]:
    """Split arrays [B,...] into their first rows and the last ones.

    Args:
      caller: the method that errors name.
      arrays: [B,...], in any structure; None stays None.
      share: how many of all rows are the last ones.

    Returns:
      Both in the same structure.

    Raises:
      ValueError: one side has no row.

    Example:

    >>> import numpy as np
    >>> split("fit", (np.arange(4), None), 0.25)
    ((array([0, 1, 2]), None), (array([3]), None))
    """
    rows = len(keras.tree.flatten(arrays)[0])
    cut = int(rows * (1 - share))
    if not 0 < cut < rows:
        side = "to validate on" if cut == rows else "to train on"
        raise ValueError(f"{caller}: validation_split={share:g} leaves none of {rows} rows {side}.")
    first, last = (
        keras.tree.map_structure(lambda a, s=s: a if a is None else a[s], arrays)
        for s in (slice(cut), slice(cut, None))
    )
    return first, last


def batches(
    arrays: Any,
    batch_size: int,
    shuffle: bool = True,
    seed: int | None = None,
    caller: str = "batches",
) -> tf.data.Dataset:
    """Make an endless data set of full batches, in a new order at each pass.

    Whole batches are gathered, no example is handled by itself: on small data that is most of
    the cost of a step. A batch of all rows keeps their order.

    Args:
      arrays: [B,...], in any structure.
      batch_size: rows in a batch.
      shuffle: whether the order is random.
      seed: of the orders; by default a random one, which keras.utils.set_random_seed fixes.
      caller: what errors name.

    Returns:
      The data set, of infinite cardinality.

    Raises:
      ValueError: for no rows, different numbers of them, or a batch size below 1.

    Example:

    >>> import numpy as np
    >>> data = batches((np.arange(4), np.arange(4)), 2, seed=0).take(2)
    >>> sorted(int(i) for x, y in data for i in x)
    [0, 1, 2, 3]
    """
    arrays = keras.tree.map_structure(tf.convert_to_tensor, keras.tree.lists_to_tuples(arrays))
    batch_size = require.whole_number(caller, "batch_size", batch_size, at_least=1)
    leaves = keras.tree.flatten(arrays)
    rows = require.same_rows(caller, {f"array {i}": leaf for i, leaf in enumerate(leaves)})
    if batch_size >= rows:
        return without_autotune(tf.data.Dataset.from_tensors(arrays).repeat())
    if seed is None:  # from TensorFlow's, which keras.utils.set_random_seed sets
        seed = int(tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int32))

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


def one_pass(arrays: Any, batch_size: int, shuffle: bool) -> tf.data.Dataset:
    """Make a data set of all batches, as Keras makes it of arrays, but in their own dtypes.

    Keras rounds arrays to float32 first; streams keep their dtypes.

    Args:
      arrays: [B,...], in any structure.
      batch_size: rows in a batch; the last one may have fewer.
      shuffle: whether rows are in a new order at each pass.

    Returns:
      The data set, of known cardinality.

    Example:

    >>> import numpy as np
    >>> data = one_pass(np.arange(3.0), 2, shuffle=False)
    >>> [batch.numpy().tolist() for batch in data], data.element_spec.dtype.name
    ([[0.0, 1.0], [2.0]], 'float64')
    """
    arrays = keras.tree.map_structure(tf.convert_to_tensor, keras.tree.lists_to_tuples(arrays))
    rows = len(keras.tree.flatten(arrays)[0])

    def order(seed):
        numbers = tf.range(rows, dtype=tf.int64)
        return tf.random.experimental.stateless_shuffle(numbers, seed) if shuffle else numbers

    def take(numbers):
        return keras.tree.map_structure(lambda array: tf.gather(array, numbers), arrays)

    seeds = tf.data.Dataset.random(rerandomize_each_iteration=True).batch(2).take(1)
    data = seeds.map(order).rebatch(batch_size).map(take).prefetch(2)
    data = data.apply(tf.data.experimental.assert_cardinality(-(-rows // batch_size)))
    options = tf.data.Options()
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return data.with_options(options)


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switch tf.data's tuner off: the end of an iterator may wait a minute for its thread."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
