"""A target's labels at points, computed once."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from sobolev_tf import jets, require
from sobolev_tf.keras_support.progress import progress_bar


def tabulate(
    target: Callable,
    x: ArrayLike,
    order: int = 1,
    batch_size: int = 1024,
    verbose: str | int = "auto",
) -> tuple[np.ndarray, ...]:
    """Compute a target's labels at points, as NumPy arrays.

    A target with a method `jet` computes its own derivatives; any other target is differentiated.
    If there are several batches, the computation is compiled, unless the target cannot be traced.
    AutoGraph is off, as in `fit`.

    Args:
      target: a callable x [B,*in] -> [B,*out]: one of `targets`, or any differentiable function.
      x: one floating array [B,*in].
      order: J, the highest order of derivatives.
      batch_size: number of rows that are computed at a time.
      verbose: 1 shows a progress line if there are several batches, 0 shows none, "auto" shows it
        on a terminal only.

    Returns:
      (y [B,*out], d1 [B,*out,*in], ..., dJ).

    Raises:
      ValueError: x is not one array with a batch axis.

    Example:

    >>> y, dy = tabulate(lambda x: x**2, np.array([[3.0]]))
    >>> dy.tolist()
    [[[6.0]]]
    """
    if isinstance(x, dict | list | tuple) or np.ndim(x) == 0:
        raise ValueError(
            f"tabulate takes one array x [B,*in], got a {type(x).__name__}: join several inputs "
            "into one array, or wrap the target in a function that takes them apart."
        )
    order = require.whole_number("tabulate", "order", order, at_least=0)
    batch_size = require.whole_number("tabulate", "batch_size", batch_size, at_least=1)
    require.function("tabulate", "target", target)
    points = jets.as_differentiable(x, "tabulate: x")
    starts = range(0, max(len(points), 1), batch_size)
    several = len(starts) > 1
    jet: Callable
    if hasattr(target, "jet"):
        jet = functools.partial(target.jet, order=order)
    else:
        jet = functools.partial(jets.jet, target, order=order)
        jet = _traced(jet, points) if several else jet
    bar = progress_bar(len(starts), verbose if several else 0, unit_name="batch")
    parts = []
    for done, i in enumerate(starts, 1):
        parts.append(jet(points[i : i + batch_size]))
        bar.update(done)
    terms = zip(*((p.value, *p.derivatives) for p in parts), strict=True)
    return tuple(map(np.concatenate, terms))


def _traced(jet: Callable, x: tf.Tensor) -> Callable:
    """`jet`, compiled for any number of rows if it can be traced."""
    try:
        spec = tf.TensorSpec([None, *x.shape[1:]], x.dtype)
        return tf.function(jet, autograph=False).get_concrete_function(spec)
    except Exception:  # whatever tracing raises: if the target is at fault, it raises again eagerly
        return jet
