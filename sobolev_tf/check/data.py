"""The labels to check: read once, flat, with the deviation of each input."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sobolev_tf.jets.arguments import refuse_not_dense
from sobolev_tf.keras_support.arrays import is_array, plain_array
from sobolev_tf.keras_support.shapes import batch_shape


class Data(NamedTuple):
    """x [B,D], y [B,K], dy [B,K,D], and unit [D], the standard deviation of each input.

    shape_in, shape_out: the axes before they were made flat.
    """

    x: np.ndarray
    y: np.ndarray
    dy: np.ndarray
    unit: np.ndarray
    shape_in: tuple
    shape_out: tuple

    def points(self, rows: np.ndarray | slice) -> np.ndarray:
        """Return x of some rows in double precision."""
        return self.x[rows].astype(np.float64)

    def slopes(self, rows: np.ndarray) -> np.ndarray:
        """Return dy of rows [...], per standard deviation of the inputs: [...,K,D]."""
        return self.dy[rows].astype(np.float64) * self.unit

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw up to `count` rows that have a value and a derivative, in order."""
        usable = np.isfinite(self.y).any(1) & np.isfinite(self.dy).any((1, 2))
        rows = np.flatnonzero(usable)
        return np.sort(rng.choice(rows, count, replace=False)) if len(rows) > count else rows


def read_data(x: ArrayLike, y: ArrayLike, dy: ArrayLike) -> Data:
    """Read the labels.

    Args:
      x: [B,*in].
      y: [B,*out]; with one output also [B]. Masked entries are missing.
      dy: [B,*out,*in]; with one output also [B,*in]. Masked entries are missing.

    Returns:
      The data, flat.

    Raises:
      ValueError: shapes do not fit, or an entry of x or a label is infinite.
    """
    x, y, dy = (_plain(name, a) for name, a in (("x", x), ("y", y), ("dy", dy)))
    for name, a in (("x", x), ("y", y), ("dy", dy)):
        if a.ndim == 0 or len(a) != len(x):
            raise ValueError(
                f"check_labels: {name} has shape {list(a.shape)}, expected "
                f"{len(x) if x.ndim else 'B'} rows: x, y and dy belong together row by row."
            )
        if a.dtype.kind not in "fiub":
            raise ValueError(f"check_labels: {name} holds {a.dtype}, expected numbers.")
        if np.isinf(a).any() or (name == "x" and np.isnan(a).any()):
            raise ValueError(
                f"check_labels: {name} has entries that are not finite: mend or drop these rows."
            )
    out, inputs = y.shape[1:] or (1,), x.shape[1:]
    dy = _fit_shape(dy, out, inputs)
    rows, size = len(x), (math.prod(out), math.prod(inputs))
    x, y, dy = x.reshape(rows, size[1]), y.reshape(rows, size[0]), dy.reshape(rows, *size)
    unit = x.std(0, dtype=np.float64) if rows else np.ones(size[1])
    return Data(x, y, dy, np.where(unit > 0, unit, 1.0), inputs, out)


def _plain(name: str, array: ArrayLike) -> np.ndarray:
    """An array of any library as NumPy's; masked labels are NaN."""
    if not isinstance(array, np.ma.MaskedArray):
        refuse_not_dense(f"check_labels: {name}", array)
    if is_array(array):
        array = plain_array("check_labels", name, array, missing=name != "x")
    return np.asarray(array)


def _fit_shape(dy: np.ndarray, out: tuple, inputs: tuple) -> np.ndarray:
    """dy [B,*out,*in], from that or, with one output, from [B,*in]; or ValueError."""
    shapes = [(*out, *inputs), inputs] if out == (1,) else [(*out, *inputs)]
    if dy.shape[1:] not in shapes:
        expected = " or ".join(batch_shape(shape) for shape in shapes)
        raise ValueError(
            f"check_labels: dy has shape {list(dy.shape)}, expected {expected}: its axes "
            "are the batch, the outputs as in y, the inputs as in x."
        )
    return dy.reshape(len(dy), *out, *inputs)
