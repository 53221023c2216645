"""Points for `predict_jet` and `adapt`, batch by batch: arrays, lists of rows, and data sets."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.jets.arguments import refuse_not_dense
from sobolev_tf.keras_support.arrays import parts, plain_array
from sobolev_tf.keras_support.progress import progress_bar
from sobolev_tf.keras_support.shapes import batch_shape
from sobolev_tf.model.inputs import Inputs


def input_batches(
    x: Any, batch_size: int, steps: int | None, caller: str, inputs: Inputs
) -> Iterator[Any]:
    """Yield batches of the net's inputs, without their labels.

    An empty array is one empty batch.

    Args:
      x: arrays or lists of rows [B,*in], in the structure of the net's inputs; or a stream of
        batches: a data set, a PyDataset, or a generator with `steps`.
      batch_size: rows of arrays in a batch.
      steps: how many batches are read; None for all.
      caller: the method that errors name.
      inputs: the net's.

    Raises:
      ValueError: for a stream that is empty or has no end, arrays of different rows, or x that is
        no array.
    """
    batch_size = require.whole_number(caller, "batch_size", batch_size, at_least=1)
    if steps is not None:
        steps = require.whole_number(caller, "steps", steps, at_least=1)
    if is_stream(x):
        yield from (parts(caller, b)[0] for b in read(x, steps, caller))
        return
    x = as_arrays(x, caller, inputs)
    rows = len(keras.tree.flatten(x)[0])
    for i in range(0, max(rows, 1), batch_size)[:steps]:
        yield keras.tree.map_structure(lambda t, i=i: t[i : i + batch_size], x)


def is_stream(x: Any) -> bool:
    """Tell whether x gives batches, and is no array or structure of arrays."""
    return isinstance(x, tf.data.Dataset | keras.utils.PyDataset | Iterator)


def read(data: Any, steps: int | None, caller: str) -> Iterator[Any]:
    """Yield the batches of a stream.

    Args:
      data: a data set, a PyDataset or a generator.
      steps: how many to read; None for all.
      caller: the method that errors name.

    Raises:
      ValueError: for a stream that is empty, or may have no end, if `steps` is None.
    """
    if steps is not None:
        steps = require.whole_number(caller, "steps", steps, at_least=1)
    length: int | None = None
    batches: Iterable = data
    if isinstance(data, tf.data.Dataset):
        endless = data.cardinality() == tf.data.INFINITE_CARDINALITY
    elif isinstance(data, keras.utils.PyDataset):
        length = data.num_batches
        endless = length is None
        batches = (data[i] for i in (itertools.count() if endless else range(length or 0)))
    else:
        endless = True
    if endless and steps is None:
        what = "data set has" if hasattr(data, "cardinality") else "generator may have"
        raise ValueError(f"{caller}: the {what} no end; say how many batches are read: steps=...")
    empty = True
    for batch in itertools.islice(batches, steps):
        empty = False
        yield batch
    if empty:
        raise ValueError(f"{caller}: there is no data, the data set is empty.")


def as_arrays(x: Any, caller: str, inputs: Inputs) -> Any:
    """Return x as arrays, in the structure of the net's inputs; lists of rows become one array.

    Raises:
      ValueError: for anything that is no array [B,*in], or arrays of different rows.

    Example:

    >>> net = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    >>> as_arrays([[1.0, 2.0]], "predict_jet", Inputs(net)).shape
    (1, 2)
    >>> as_arrays([1.0, 2.0], "predict_jet", Inputs(net))
    Traceback (most recent call last):
    ValueError: predict_jet: x has shape [2], expected [B, 2]: one point is x[None].
    """
    if isinstance(x, dict):
        arrays: Any = {name: _array(entry, caller, f"x[{name!r}]") for name, entry in x.items()}
    elif isinstance(x, list | tuple) and (inputs.several or any(map(_is_array, x))):
        arrays = type(x)(_array(entry, caller, f"x[{i}]") for i, entry in enumerate(x))
    else:
        arrays = _array(x, caller, "x")
        expected = inputs.known_shape()
        known = isinstance(expected, tuple) and all(not isinstance(n, tuple) for n in expected)
        if known and not tf.TensorShape(expected[1:]).is_compatible_with(arrays.shape[1:]):
            advice = ": one point is x[None]." if arrays.shape == expected[1:] else "."
            raise ValueError(
                f"{caller}: x has shape {list(arrays.shape)}, expected "
                f"{batch_shape(expected[1:])}{advice}"
            )
    names = {f"x[{k}]": array for k, array in enumerate(keras.tree.flatten(arrays))}
    require.same_rows(caller, names, at_least=0)
    return arrays


def shown_batches(batches: Iterator[Any], verbose: str | int) -> Iterator[Any]:
    """Yield batches, and show how many are done."""
    bar = progress_bar(None, verbose, "batch")
    done = 0
    for batch in batches:
        yield batch
        done += 1
        bar.update(done)
    bar.update(done, finalize=True)


def _is_array(entry: Any) -> bool:
    return hasattr(entry, "shape")


def _array(entry: Any, caller: str, name: str) -> Any:
    refuse_not_dense(f"{caller}: {name}", entry)
    if hasattr(entry, "shape") and hasattr(entry, "dtype"):
        entry = keras.ops.convert_to_tensor(entry) if not isinstance(entry, np.ndarray) else entry
        shape = entry.shape
    else:
        try:
            entry = np.asarray(entry)
        except ValueError:
            entry = np.asarray(None)
        shape = entry.shape
    if not len(shape) or getattr(entry.dtype, "kind", "f") in "OUSV":
        raise ValueError(
            f"{caller}: {name} is an array [B,*in], or rows of numbers, got {require.shown(entry)}."
        )
    return plain_array(caller, name, entry)
