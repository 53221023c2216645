"""Arrays that `fit` was given, in the form in which Keras trains small data fast."""

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import labels, targets


def are_arrays(x) -> bool:
    """Whether x is arrays, in any structure, and not a dataset or a generator."""
    return all(isinstance(a, np.ndarray | tf.Tensor) for a in keras.tree.flatten(x))


def endless(x, y, batch_size: int, order: int, arguments: dict):
    """Shuffled full batches of arrays without end, and what is left of fit's `arguments`.

    `sample_weight` goes into the batches; of `validation_split`, the last rows become
    `validation_data`; `shuffle` is done here.
    """
    rest = dict(arguments)
    given = labels.structured(x, y, rest.pop("sample_weight", None), order)
    if share := rest.pop("validation_split", 0):
        given, held_out = split(given, share)
        rest["validation_data"] = held_out.batch(batch_size)
    return targets.batches(given, batch_size, rest["shuffle"]), rest | {"shuffle": False}


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
