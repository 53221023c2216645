"""Checks of the arguments of `jets`: points, directions, and the results of fn."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from sobolev_tf.jets.detached import warn_of_detached_part
from sobolev_tf.jets.exact import exact_derivatives


def as_differentiable(x: ArrayLike, name: str = "x") -> tf.Tensor:
    """Convert x to a floating tensor.

    Args:
      x: one array.
      name: what errors call it, which may begin with a function's name, as in "jet: x".

    Raises:
      ValueError: x has integers or masked entries, is sparse or ragged, or is several arrays.

    Example:

    >>> as_differentiable([1, 2])
    Traceback (most recent call last):
    ValueError: x holds int32, which cannot be differentiated: pass np.asarray(x, "float32").
    """
    argument = name.split()[-1]
    several = isinstance(x, list | tuple) and any(hasattr(entry, "shape") for entry in x)
    if isinstance(x, dict | list | tuple) and (several or isinstance(x, dict)):
        raise ValueError(
            f"{name} is one array, got a {type(x).__name__} of {len(x)}: close over the inputs "
            'that stay, as in lambda a: f({"a": a, "b": b}).'
        )
    refuse_not_dense(name, x)
    point = tf.convert_to_tensor(x)
    if not point.dtype.is_floating:
        raise ValueError(
            f"{name} holds {point.dtype.name}, which cannot be differentiated: "
            f"pass {_as_float(x, argument, point)}."
        )
    return point


def _as_float(x: Any, name: str, integers: tf.Tensor) -> str:
    """The code that makes x floating; pixels become numbers up to 1."""
    ways = [f'np.asarray({name}, "float32")']
    if isinstance(x, np.ndarray | tf.Tensor):
        ways = [f'{name}.astype("float32")']
    if isinstance(x, tf.Tensor):  # which may have been an array
        ways.append(f'of a tensor tf.cast({name}, "float32")')
    if integers.dtype == tf.uint8 and integers.shape.rank is not None and integers.shape.rank > 2:
        ways = [f"{way} / 255" for way in ways]
    return ", or ".join(ways)


def refuse_not_dense(name: str, array: Any) -> None:
    """Refuse what TensorFlow would read as other numbers: sparse, ragged and masked arrays.

    Args:
      name: what errors call the array.
      array: anything.

    Raises:
      ValueError: for such an array.

    Example:

    >>> refuse_not_dense("x", np.ma.masked_equal([[1.0], [9.0]], 9.0))
    Traceback (most recent call last):
    ValueError: x is masked, first in row 1: fill or drop such entries.
    """
    if isinstance(array, tf.SparseTensor | tf.RaggedTensor) or hasattr(array, "toarray"):
        kind = type(array).__name__
        advice = {"SparseTensor": "tf.sparse.to_dense({})", "RaggedTensor": "{}.to_tensor()"}
        dense = advice.get(kind, "{}.toarray()").format(name.split()[-1])
        raise ValueError(f"{name} is a {kind}, expected a dense array: {dense}.")
    # AutoGraph reads this function where a user's does: it knows no assignment inside a condition.
    mask = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None
    if mask is not None and mask.any():
        row = int(np.argmax(mask.reshape(len(mask), -1).any(axis=1))) if mask.ndim else 0
        raise ValueError(f"{name} is masked, first in row {row}: fill or drop such entries.")


def refuse_scalar(caller: str, x: tf.Tensor) -> tf.Tensor:
    """Return x [B,*in]; refuse a single number, which has no batch axis."""
    if x.shape.rank == 0:
        raise ValueError(f"{caller}: x is one number, expected [B,*in], as in x[None].")
    return x


def directions(
    caller: str, name: str, v: Any, like: tf.Tensor, projections: bool = False
) -> tf.Tensor:
    """Return directions as a tensor of the right shape, so that they do not broadcast.

    Args:
      caller: the function that errors name.
      name: what errors call the directions.
      v: [B,*dims], or with projections [B,P,*dims].
      like: [B,*dims].
      projections: whether v has an axis P.

    Raises:
      ValueError: directions have another shape, or are not an array of numbers.

    Example:

    >>> directions("jvp", "v", tf.ones([2]), tf.ones([4, 2]))
    Traceback (most recent call last):
    ValueError: jvp: v has shape [2], expected [4, 2].
    """
    if v is None:
        raise ValueError(f"{caller}: {name} is missing, expected {_shown(like, projections)}.")
    refuse_not_dense(f"{caller}: {name}", v)
    try:
        v = tf.convert_to_tensor(v)
        v = v if v.dtype.is_floating else tf.cast(v, like.dtype)
    except (TypeError, ValueError, tf.errors.UnimplementedError) as error:
        raise ValueError(
            f"{caller}: {name} is a {type(v).__name__} that holds no numbers, expected an array "
            f"{_shown(like, projections)}."
        ) from error
    expected = like.shape[:1].concatenate([None] * projections).concatenate(like.shape[1:])
    if not expected.is_compatible_with(v.shape):
        raise ValueError(
            f"{caller}: {name} has shape {list(v.shape)}, expected {_shown(like, projections)}."
        )
    if projections and v.shape[1] == 0:
        raise ValueError(f"{caller}: {name} has shape {list(v.shape)}: P is at least 1.")
    return v


def answer(caller: str, fn: Callable, x: tf.Tensor, differentiated: bool = True) -> tf.Tensor:
    """Call fn at x [B,*in], and return its result [B,*out].

    Args:
      caller: the function that errors name.
      fn: a function of TensorFlow operations.
      x: [B,*in].
      differentiated: whether the result is differentiated, which excludes NumPy arrays.

    Raises:
      ValueError: fn does not return a tensor with one row for each row of x.

    Example:

    >>> answer("jet", tf.reduce_sum, tf.ones([4, 2]))
    Traceback (most recent call last):
    ValueError: jet: fn gives shape [] for x of shape [4, 2], expected [4,*out]: one row for each \
row of x.
    """
    if not callable(fn):
        raise ValueError(f"{caller}: fn is a function of x, got {type(fn).__name__}.")
    try:
        with exact_derivatives() if differentiated else contextlib.nullcontext():
            value = fn(x)
    except (NotImplementedError, AttributeError) as error:
        # TensorFlow's message if NumPy is called on a traced tensor.
        if "numpy" not in str(error).lower() or not tf.is_symbolic_tensor(x):
            raise
        raise ValueError(_numpy(caller)) from error
    if isinstance(value, np.ndarray | np.generic | float | int):
        if differentiated:
            raise ValueError(_numpy(caller))
        value = tf.convert_to_tensor(value)
    if not tf.is_tensor(value):
        raise ValueError(
            f"{caller}: fn gives {_kind(value)}, expected one tensor [B,*out] of TensorFlow."
        )
    value = tf.convert_to_tensor(value)
    if differentiated and tf.is_symbolic_tensor(x) and tf.is_symbolic_tensor(value):
        warn_of_detached_part(caller, value, x)
    points = x.shape if hasattr(x, "shape") else np.shape(x)
    if value.dtype.is_complex:
        raise ValueError(f"{caller}: fn gives {value.dtype.name}, expected real numbers.")
    # If the number of rows is unknown in x but known in the result, fn does not work row by row
    # (x[0], a sum over the batch), and the result would broadcast.
    summed = value.shape.rank and value.shape[0] is not None and points[0] is None
    aligned = value.shape.rank is None or value.shape[:1].is_compatible_with(points[:1])
    if summed or not aligned:
        raise ValueError(
            f"{caller}: fn gives shape {list(value.shape)} for x of shape {list(points)}, "
            f"expected [{points[0] or 'B'},*out]: one row for each row of x."
        )
    return value


def _numpy(caller: str) -> str:
    return (
        f"{caller}: fn computes with NumPy, which cannot be differentiated: use TensorFlow "
        "operations, or targets.FiniteDifferences(fn)."
    )


def _kind(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _rows(x: tf.Tensor) -> str | int:
    return x.shape[0] or "B"


def _shown(like: tf.Tensor, projections: bool) -> str:
    sizes: Sequence = [_rows(like), *["P"] * projections, *like.shape[1:]]
    return "[" + ", ".join("?" if size is None else str(size) for size in sizes) + "]"
