"""The function that labels came from: its values, their precision, its slopes."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sobolev_tf.check.data import Data
from sobolev_tf.check.statistics import TINY, median_of

_CHUNK = 1024  # points in one call: memory of nets on images
_INTEGER_PRECISION = 1e-7  # taken for functions that return integers: as if single precision

# How precise fn is shows in fourth differences of its values over short steps.
_ROWS, _STEP = 64, 1e-4  # rows; steps in standard deviations: there smooth functions cancel
_FOURTH_DIFFERENCE = (1, -4, 6, -4, 1)
_NOISE_GAIN = 8.4  # sqrt(70), by which the fourth difference of independent errors is larger

_FOURTH_ORDER = 0.2  # the best step of a fourth-order difference is eps ** (1/5)
_NARROWER = 16  # between the two steps: a kink inside one is mostly outside the other
_BEND = 8  # so much of the narrow step's bend counts as uncertainty; chosen by hand


class Values(NamedTuple):
    """fn on flat points: at [N,D] -> [N,K] in float64; eps, the precision of what it returns."""

    at: Callable
    eps: float


def values_of(fn: Callable, data: Data) -> Values:
    """Find the widest precision that fn takes, on arrays or tensors.

    Args:
      fn: x [B,*in] -> y [B,*out].
      data: the labels.

    Returns:
      The function on flat points, and its precision.

    Raises:
      ValueError: fn returns another number of outputs than y has.
    """
    eps = []

    def at(points, convert):
        chunks = np.array_split(points, max(1, math.ceil(len(points) / _CHUNK)))
        with np.errstate(all="ignore"):
            parts = [np.asarray(fn(convert(c.reshape(-1, *data.shape_in)))) for c in chunks]
        for part, chunk in zip(parts, chunks, strict=True):
            if part.shape[:1] != (len(chunk),):
                raise ValueError(
                    f"fn returns shape {list(part.shape)} for {len(chunk)} rows, expected "
                    f"[{len(chunk)}, ...]: keep the batch axis first"
                )
        y = np.concatenate([a.reshape(len(a), -1) for a in parts])
        eps.append(np.finfo(y.dtype).eps if y.dtype.kind == "f" else _INTEGER_PRECISION)
        return np.where(np.isfinite(y), y, np.nan).astype(np.float64)

    ways = (np.asarray, tf.convert_to_tensor, lambda x: tf.cast(x, tf.float32))
    errors = []
    for convert in ways:
        try:
            y = at(data.points(slice(2)), convert)
            break
        except Exception as error:  # whatever fn raises at a type that it does not take
            errors.append(error)
    else:
        raise errors[0] from errors[-1]
    if y.shape[1] != data.y.shape[1]:
        raise ValueError(
            f"check_labels: fn returns {y.shape[1]} numbers a row, expected {data.y.shape[1]} as "
            "in y: pass the function that y came from."
        )
    # Double precision outside may be single inside.
    x, step = data.points(slice(_ROWS)), _STEP * data.unit
    y = np.stack([at(x + k * step, convert) for k in (-2, -1, 0, 1, 2)], -1)
    size = np.nanmax(np.abs(y[..., 2]), 0, initial=TINY)
    noise = np.abs(y @ _FOURTH_DIFFERENCE) / _NOISE_GAIN / size
    precision = float(max(eps[-1], median_of(noise)))
    return Values(lambda points: at(points, convert), precision)


def slopes_of(
    data: Data, values: Values, points: np.ndarray, probes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute slopes of fn by central differences of fourth order, with two steps.

    The more certain one counts. Where the narrow one still sees a bend there is a kink in the
    point itself, and no slope.

    Args:
      data: the labels.
      values: the function.
      points: [A,D].
      probes: [P], the inputs to step along.

    Returns:
      Slopes per standard deviation of the inputs and their uncertainty, both [A,P,K].
    """
    moves = np.zeros([4, len(probes), data.x.shape[1]])
    moves[:, np.arange(len(probes)), probes] = np.outer((-2, -1, 1, 2), data.unit[probes])
    pairs = []
    for width in (values.eps**_FOURTH_ORDER, values.eps**_FOURTH_ORDER / _NARROWER):
        y = values.at((points[:, None, None] + width * moves).reshape(-1, moves.shape[-1]))
        y = np.moveaxis(y.reshape(len(points), 4, len(probes), -1), 1, 0) / width
        inner, outer = (y[2] - y[1]) / 2, (y[3] - y[0]) / 4
        pairs.append(((4 * inner - outer) / 3, np.abs(inner - outer) / 3))
    (wide, wide_error), (narrow, narrow_error) = pairs
    bend = np.abs(y[3] - y[2] - y[1] + y[0])
    use_narrow = ~(wide_error < narrow_error)
    uncertainty = np.maximum(np.where(use_narrow, narrow_error, wide_error), bend / _BEND)
    return np.where(use_narrow, narrow, wide), uncertainty
