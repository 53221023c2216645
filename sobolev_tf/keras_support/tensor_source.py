"""What the batches of a data set are cut from, where it is tensors that the data set holds."""

from typing import Any

import tensorflow as tf

# TensorFlow's classes of data sets that pass rows on as they are.
_PASS_ON = {
    "_OptionsDataset",
    "_PrefetchDataset",
    "_RepeatDataset",
    "_ShardDataset",
    "_ShuffleDataset",
    "_SkipDataset",
    "_TakeDataset",
}
_CUT = {"_BatchDataset", "_ParallelBatchDataset"}


def source(data: tf.data.Dataset) -> Any:
    """Return all rows that the batches of a data set are cut from, or None if it is not known.

    Known for `from_tensors(batch)` and for `from_tensor_slices(rows).batch(size)`, with any
    shuffle, repeat, take, skip, shard and prefetch; not behind a function, such as `map`'s.

    Args:
      data: the data set.

    Returns:
      Tensors in the structure of a batch, or None.

    Example:

    >>> data = tf.data.Dataset.from_tensor_slices([1.0, 2.0, 3.0]).shuffle(3)
    >>> source(data.batch(2).repeat()).numpy().tolist(), source(data)
    ([1.0, 2.0, 3.0], None)
    """
    leaves = tf.nest.flatten(data.element_spec)
    if not all(type(leaf) is tf.TensorSpec for leaf in leaves):
        return None
    spec, batched = data.element_spec, 0
    while (name := type(data).__name__) in _PASS_ON | _CUT:
        batched += name in _CUT
        data = data._input_dataset
    if name != {0: "_TensorDataset", 1: "_TensorSliceDataset"}.get(batched):
        return None
    tensors = getattr(data, "_tensors", None)
    if tensors is None or len(tensors) != len(leaves):
        return None
    return tf.nest.pack_sequence_as(spec, tensors)
