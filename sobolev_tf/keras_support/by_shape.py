"""One compiled function for each shape of data, so that no check of a shape is skipped.

A function that TensorFlow has traced for [B,3] is traced for [B,None] when [B,1] comes: what is
checked while it is traced no longer knows the axis, and [B,1] broadcasts where it is wrong.
"""

import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.keras_support.array_batches import ArrayBatches


class ByShape:
    """A train, test or predict function of Keras's that is made anew for data of other axes.

    The number of rows may differ: a function is traced for any.

    Args:
      make: returns a new function of `ArrayBatches` or of an iterator over batches.
      open_axes: tells whether the net takes axes of any size. Then only their number counts.

    Example:

    >>> made = []
    >>> function = ByShape(lambda: made.append(1) or next, open_axes=lambda: False)
    >>> for shape in [4, 2], [3, 2], [4, 1]:
    ...     batch = function(iter([tf.zeros(shape)]))
    >>> len(made)
    2
    """

    def __init__(self, make: Callable[[], Callable], open_axes: Callable[[], bool]) -> None:
        self._make, self._open_axes = make, open_axes
        self._functions: dict[Any, Callable] = {}
        self._last: Any = None  # a weak reference to the last iterator
        self._function: Any = None  # for it

    def had(self, data: Any) -> bool:
        """Tell whether the last call took the same tf.data iterator."""
        return self._last is not None and self._last() is data

    def __call__(self, data: Any) -> Any:
        if self.had(data):
            return self._function(data)
        spec, data = _spec_of(data)
        key = spec if isinstance(spec, str) else _axes(spec, self._open_axes())
        if (function := self._functions.get(key)) is None:
            function = self._functions[key] = self._make()
        self._function, self._last = function, None
        if isinstance(data, tf.data.Iterator):
            self._last = weakref.ref(data)
        return function(data)


def has_open_axes(shapes: Any) -> bool:
    """Tell whether any shape [B,...], of a structure of shapes, leaves a size open beside B.

    >>> has_open_axes((None, 3)), has_open_axes([(None, 3), (None, None, 3)]), has_open_axes(None)
    (False, True, False)
    """
    leaves: list[tuple] = []
    if shapes is not None:
        keras.tree.map_shape_structure(leaves.append, shapes)
    return any(None in shape[1:] for shape in leaves)


def _spec_of(data: Any) -> tuple[Any, Any]:
    """Return what tells the shapes of the batches, and the data, whose first batch is not lost."""
    if isinstance(data, ArrayBatches):
        return data.key[0], data
    if (spec := getattr(data, "element_spec", None)) is not None:
        return spec, data
    if not isinstance(data, Iterator):  # Keras's `predict` takes the batches itself
        return data, data
    first = list(itertools.islice(data, 1))
    return first, itertools.chain(first, data)


def _axes(spec: Any, open_axes: bool) -> tuple:
    """Return the axes after the rows, of every tensor."""
    axes = []
    for leaf in tf.nest.flatten(spec, expand_composites=True):
        shape = tf.TensorShape(getattr(leaf, "shape", ()))
        sizes = shape.rank and shape.as_list()[1:]
        axes.append(shape.rank if open_axes or not sizes else tuple(sizes))
    return tuple(axes)
