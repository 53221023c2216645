"""Arrays of any library, converted to what TensorFlow takes: NumPy arrays of native numbers."""

import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.jets.arguments import refuse_not_dense


def is_array(value: Any) -> bool:
    """Tell whether a value is one array: NumPy's, a tensor, or anything that NumPy can read.

    Example:

    >>> is_array(np.zeros(2)), is_array([0.0, 0.0]), is_array(tf.data.Dataset.range(2))
    (True, False, False)
    """
    if isinstance(value, np.ndarray | tf.Tensor):
        return True
    read = callable(getattr(value, "__array__", None)) and not isinstance(value, type)
    return read and hasattr(value, "shape")


def are_arrays(x: Any) -> bool:
    """Tell whether x is arrays, in any structure, and not a data set or a generator."""
    leaves = keras.tree.flatten(x)
    return bool(leaves) and all(is_array(leaf) for leaf in leaves)


def plain_array(caller: str, name: str, array: Any, missing: bool = False) -> Any:
    """Return an array as NumPy's or TensorFlow's, of native real numbers.

    Args:
      caller: the public function that errors name.
      name: the array.
      array: [B,...], of any library.
      missing: whether masked entries become NaN; otherwise they are refused.

    Raises:
      ValueError: the array has masked entries, complex numbers, dates or objects.

    Example:

    >>> plain_array("fit", "x", np.arange(2, dtype=">f4")).dtype
    dtype('float32')
    >>> plain_array("fit", "label d1", np.ma.masked_equal([0.0, 9.0], 9.0), missing=True).tolist()
    [0.0, nan]
    >>> plain_array("fit", "x", np.ones(2) * 1j)
    Traceback (most recent call last):
    ValueError: fit: x holds complex128, expected real numbers: pass x.real, or real and \
imaginary part as components.
    """
    if isinstance(array, np.ma.MaskedArray):
        array = _unmasked(caller, name, array, missing)
    if not isinstance(array, np.ndarray | tf.Tensor):
        if hasattr(array, "detach"):  # PyTorch's may need a gradient, or be on another device
            array = array.detach().cpu()
        array = np.asarray(array)
    tensor = isinstance(array, tf.Tensor)
    kind = _kind(array.dtype) if tensor else array.dtype.kind
    if kind == "c":
        raise ValueError(
            f"{caller}: {name} holds {_dtype(array)}, expected real numbers: pass {name}.real, or "
            "real and imaginary part as components."
        )
    if kind in "OMmVU" or (kind == "S" and not name.startswith("x")):
        raise ValueError(
            f"{caller}: {name} holds {_dtype(array)}, expected numbers: {_as_numbers(name, array)}."
        )
    if isinstance(array, tf.Tensor):
        return array
    if array.dtype == np.longdouble and array.dtype.itemsize > 8:
        return array.astype("float64")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def from_lists(caller: str, name: str, x: Any) -> Any:
    """Return lists of numbers as one array, iterators as generators, and anything else as it is.

    Args:
      caller: the public function that errors name.
      name: the argument.
      x: arrays in any structure, a stream of batches, or rows of numbers.

    Raises:
      ValueError: x is a list of anything else, text, one number, None, sparse or ragged.

    Example:

    >>> from_lists("fit", "x", [[1.0, 2.0]]).shape
    (1, 2)
    >>> from_lists("fit", "x", "points.csv")
    Traceback (most recent call last):
    ValueError: fit: x is an array [B,...] or rows of numbers, got 'points.csv'.
    """
    for leaf in keras.tree.flatten(x):
        if not isinstance(leaf, np.ma.MaskedArray):  # the gate may take these as missing
            refuse_not_dense(f"{caller}: {name}", leaf)
    if isinstance(x, Iterator) and not isinstance(x, types.GeneratorType):
        return (batch for batch in x)  # Keras takes generators only
    plain = isinstance(x, str | bytes | list | tuple | set | int | float)
    if x is not None and not plain and not callable(x):
        return x
    leaves = keras.tree.flatten(x)
    if isinstance(x, list | tuple) and any(is_array(leaf) for leaf in leaves):
        return x
    try:
        array = np.asarray(x if isinstance(x, list | tuple) else None)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise ValueError(
            f"{caller}: {name} is an array [B,...] or rows of numbers, got {require.shown(x)}."
        )
    return array


def refuse_no_array(caller: str, name: str, value: Any) -> None:
    """Raise ValueError: something was passed that is not a dense array.

    >>> refuse_no_array("fit", "sample_weight", 2.0)
    Traceback (most recent call last):
    ValueError: fit: sample_weight is an array with a row for each example, got 2.0.
    """
    raise ValueError(
        f"{caller}: {name} is an array with a row for each example, got {require.shown(value)}."
    )


def parts(caller: str, batch: Any) -> tuple[Any, Any, Any]:
    """Return x, y and sample_weight of a batch, or of its specification; None for what is absent.

    Args:
      caller: the public function, which errors name.
      batch: x, (x, y) or (x, y, sample_weight).

    Raises:
      ValueError: there are more.

    Example:

    >>> parts("fit", (1, 2))
    (1, 2, None)
    >>> parts("fit", (1, 2, 3, 4))
    Traceback (most recent call last):
    ValueError: fit: a batch has 4 parts, expected x, (x, y) or (x, y, sample_weight): \
derivatives belong to the labels, (x, (y, dy)).
    """
    if isinstance(batch, tuple | list) and len(batch) > 3:
        raise ValueError(
            f"{caller}: a batch has {len(batch)} parts, expected x, (x, y) or (x, y, "
            "sample_weight): derivatives belong to the labels, (x, (y, dy))."
        )
    return keras.utils.unpack_x_y_sample_weight(batch)


def to_predict(x: Any) -> Any:
    """Return what `predict` reads: a generator's batches as tuples, which Keras insists on.

    Example:

    >>> list(to_predict(batch for batch in (1, (2,))))
    [(1,), (2,)]
    """
    if not isinstance(x, types.GeneratorType):
        return x
    return (batch if isinstance(batch, tuple) else (batch,) for batch in x)


def entries(name: str, arrays: Any) -> dict[str, Any]:
    """Return arrays in any structure by the names that errors use.

    Example:

    >>> list(entries("x", {"a": 1, "b": [2, 3]})), list(entries("x", 1))
    (["x['a']", "x['b'][0]", "x['b'][1]"], ['x'])
    """
    if isinstance(arrays, dict):
        parts = {f"{name}[{key!r}]": part for key, part in arrays.items()}
    elif isinstance(arrays, list | tuple):
        parts = {f"{name}[{i}]": part for i, part in enumerate(arrays)}
    else:
        return {} if arrays is None else {name: arrays}
    return {k: v for part, array in parts.items() for k, v in entries(part, array).items()}


def on_host(array: Any) -> np.ndarray | None:
    """Return an array's numbers, without a copy if possible; None if there are none yet."""
    if isinstance(array, tf.Tensor):
        return array.numpy() if hasattr(array, "numpy") else None
    return np.asarray(array)


def _unmasked(caller, name, array, missing):
    mask = np.ma.getmaskarray(array)
    if not mask.any():
        return array.data
    if missing:
        return array.astype(np.result_type(array.dtype, "float32")).filled(np.nan)
    row = int(np.argmax(mask.reshape(len(mask), -1).any(axis=1)))
    advice = "fill or drop such entries"
    if name.startswith("label"):
        advice += ', or compile(missing="nan") to leave them out'
    raise ValueError(f"{caller}: {name} is masked, first in row {row}: {advice}.")


def _dtype(array):
    return array.dtype.name if isinstance(array, tf.Tensor) else str(array.dtype)


def _as_numbers(name: str, array: Any) -> str:
    """What to do with an array of text, dates or objects: code by the user's own names."""
    argument = {"label value": "y", "label d1": "dy"}.get(name, name)
    if not argument.replace("_", "").isalnum():
        argument = "a"  # an entry of several has no name of its own
    if isinstance(array, tf.Tensor):
        return f"pass tf.strings.to_number({argument})"
    try:
        array[:1].astype("float32")
    except (TypeError, ValueError):
        if name != "label value":
            return "these are not numerals"
        return f"these are not numerals; names of classes need numbers, as np.unique({argument}, \
return_inverse=True)[1] gives them"
    return f'pass {argument}.astype("float32")'


def _kind(dtype):
    """NumPy's letter of a TensorFlow dtype: text, complex, or any number."""
    if dtype == tf.string:
        return "S"
    return "c" if dtype.is_complex else "f"
