"""Derivatives of several inputs by name: a Hessian as blocks, joined into one array."""

import itertools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def join_blocks(
    label: dict, names: Sequence[str], sizes: dict[str, int], outputs: int, order: int
) -> Any:
    """Return D^j by names of inputs, nested j deep, as one array over all of them.

    Derivatives commute, so one of label["a"]["b"] and label["b"]["a"] is enough.

    Args:
      label: {"a": {"a": [B,*out,*a,*a], "b": [B,*out,*a,*b]}, ...} at order 2.
      names: the inputs that are differentiated, in their order.
      sizes: how many numbers each of them has.
      outputs: the number of axes of *out.
      order: j.

    Returns:
      [B,*out,D × j]; of one input, its block as it is.

    Raises:
      ValueError: a block is absent; it names the block.

    Example:

    >>> a, b, c = tf.zeros([5, 1, 2, 2]), tf.ones([5, 1, 2, 1]), tf.zeros([5, 1, 1, 1])
    >>> label, sizes = {"a": {"a": a, "b": b}, "b": {"b": c}}, {"a": 2, "b": 1}
    >>> joined = join_blocks(label, ["a", "b"], sizes, outputs=1, order=2)
    >>> joined.shape, joined[0, 0].numpy().tolist()
    (TensorShape([5, 1, 3, 3]), [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    >>> join_blocks({"a": a, "b": c}, ["a", "b"], sizes, outputs=1, order=2)
    Traceback (most recent call last):
    ValueError: label d2 lacks the block of 'a' and 'a': give d2 as one array [B, *out, 3, 3], or \
by name of every pair, {'a': {'a': ..., 'b': ...}, 'b': {'a': ..., 'b': ...}}; NaN stands for a \
block that is unknown, under compile(missing="nan").
    """
    names = list(names) or list(label)
    if len(names) == 1:
        return _block(label, names * order)

    def joined(path):
        if len(path) == order:
            return _flat_block(label, path, names, sizes, outputs)
        parts = [joined((*path, name)) for name in names]
        return tf.concat(parts, outputs + 1 + len(path))

    return joined(())


def _flat_block(label, path, names, sizes, outputs):
    """The block at a path [B,*out,n1,...,nj], from any order of its names."""
    for axes in itertools.permutations(range(len(path))):
        block = _block(label, [path[axis] for axis in axes])
        if block is None:
            continue
        block = tf.convert_to_tensor(block)
        lead = [tf.shape(block)[0], *block.shape[1 : outputs + 1]]
        block = tf.reshape(block, [*lead, *(sizes[path[axis]] for axis in axes)])
        start = outputs + 1
        back = [start + axes.index(axis) for axis in range(len(path))]
        return tf.transpose(block, [*range(start), *back])
    j, total = len(path), sum(sizes[name] for name in names)
    inner = "{" + ", ".join(f"{name!r}: ..." for name in names) + "}"
    nested = "{" + ", ".join(f"{name!r}: {inner}" for name in names) + "}"
    raise ValueError(
        f"label d{j} lacks the block of {' and '.join(map(repr, path))}: give d{j} as one array "
        f"[B, *out, {', '.join([str(total)] * j)}], or by name of every pair, {nested}; NaN stands "
        'for a block that is unknown, under compile(missing="nan").'
    )


def _block(label: Any, path: Sequence[str]) -> Any:
    """What stands at a path; None if there is nothing, or no array."""
    for name in path:
        label = label.get(name) if isinstance(label, dict) else None
    return None if isinstance(label, dict) else label
