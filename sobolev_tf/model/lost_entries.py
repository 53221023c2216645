"""Partly missing labels under random projections: entries that no direction reaches are refused."""

from typing import Any

import numpy as np

from sobolev_tf.model import labels
from sobolev_tf.projections import Projection


def refuse_lost(
    caller: str,
    named: dict[str, Any],
    projection: Projection,
    axes: int,
    start: int = 0,
    where: str = "",
) -> None:
    """Refuse derivatives of which known entries would be lost in a sum with unknown ones.

    A projection sums over the components that it contracts. Directions lie in the components of
    the inputs that the label of the lowest order knows; within these, everything must be known.

    Args:
      caller: the method that the error names.
      named: labels by name, with NaN where an entry is unknown.
      projection: the model's.
      axes: the number of axes of *in.
      start: the number of the first row.
      where: which batch, for the error.

    Raises:
      ValueError: names the label and the first row.

    Example:

    >>> diagonal = np.where(np.eye(2), 1.0, np.nan)[None, None]
    >>> refuse_lost("fit", {"d2": diagonal}, Projection("input"), axes=1)
    Traceback (most recent call last):
    ValueError: fit: label d2 is partly missing, first in row 0; along random directions of the \
inputs its known entries would be lost: give all pairs of the known components, or take full \
derivatives (projection=None).
    """
    among = None
    for name in sorted(filter(labels.order_of, named), key=labels.order_of):
        label, j = named[name], labels.order_of(name)
        if label.dtype.kind != "f" or not _fits(label, axes, j):
            continue
        known = ~np.isnan(_split(label, axes, j))
        if among is None and projection.side == "input":
            among = known.any(axis=(1, *range(3, known.ndim)))
        if known.all() and (among is None or among.all()):
            continue
        if projection.side == "output":
            lost = known.any(axis=1) & ~known.all(axis=1)
        else:
            lost = _lost(known, among, 1 if projection.contraction == "first" else j)
        if lost.any():
            row = int(np.argmax(lost.reshape(len(lost), -1).any(axis=1)))
            _refuse(caller, name, projection.side, f"{start + row}{where}")


def _fits(label, axes, j):
    """Whether a label may be [B,*out,*in × j]; the step names one of another shape."""
    sizes = label.shape[1:][max(label.ndim - 1 - j * axes, 0) :]
    return label.ndim > j * axes and sizes == sizes[:axes] * j


def _split(label, axes, j):
    """The label [B,*out,*in × j] as [B,K,n × j]; one output may have no axis."""
    lead = label.ndim - 1 - j * axes
    sizes = label.shape[1 + lead : 1 + lead + axes]
    n = int(np.prod(sizes, dtype=int))
    rows = len(label)
    count = int(np.prod(label.shape[1 : 1 + lead], dtype=int)) if lead else 1
    return label.reshape([rows, count, *[n] * j])


def _lost(known, among, along):
    """Where known entries would not be seen: [B,K, and the inputs that are not contracted]."""
    inside = np.ones([len(known), 1, *[1] * (known.ndim - 2)], bool)
    for i in range(along):
        shape = [1] * known.ndim
        shape[0], shape[2 + i] = among.shape
        inside = inside & among.reshape(shape)
    contracted = tuple(range(2, 2 + along))
    within = (known | ~inside).all(axis=contracted)
    return known.any(axis=contracted) & ~within | (known & ~inside).any(axis=contracted)


def _refuse(caller, name, side, row):
    what = "all outputs" if side == "output" else "all pairs of the known components"
    if name == "d1" and side == "input":
        what = "the same components for every output"
    raise ValueError(
        f"{caller}: label {name} is partly missing, first in row {row}; along random directions "
        f"of the {side}s its known entries would be lost: give {what}, or take full derivatives "
        "(projection=None)."
    )
