"""Evidence: rises of y over steps of x, between neighbors or by finite differences of fn."""

import math
from typing import NamedTuple

import numpy as np

from sobolev_tf.check.data import Data
from sobolev_tf.check.statistics import TINY, mean_of, median_of
from sobolev_tf.check.values import Values, slopes_of

# Relative errors that pass, of finite differences and of neighbors. Chosen by hand on the cases
# of tests/library/check, as are all numbers here that have no other reason.
EXACT, CLOSE = 5e-3, 2e-2

BANDS = (0, 4, 12, 32)  # neighbors by rank: near ones against curvature, far ones against noise
BUDGET = 2**22  # numbers in the largest array

_POOL, _ROWS = 4096, 800  # rows that are searched for neighbors; rows that are checked
_LEAST_ROWS = 16  # are checked, however many outputs there are
_SAME_POINT = 1e-9  # standard deviations: a shorter step says nothing of slopes
_FEW_ROWS = 8  # for each input: between fewer, curvature looks like a fault
_FLAT = 0.1  # of the usual slope: flatter places count as if they were so steep

_ALL_PROBES, _SOME_PROBES = 64, 32  # up to 64 inputs are all stepped along; of more, 32
_DIFFERENCES = 2048  # of fn, in rows times inputs
_DIFFERENCE_ROWS = (8, 128)  # the least and most rows
_FLAT_INPUT = 0.01  # of the usual slope: inputs that matter less count as if so much
_UNCERTAIN = 0.01  # of a slope: what is less certain is left out


class Secants(NamedTuple):
    """Rises of y [A,N,K] over steps of x [A,N,D], from rows tail [A] to rows head [A,N].

    Steps are in standard deviations; scale [A,N,K] is the rise that a step like this makes here,
    whatever its direction. Errors are relative to it.
    """

    tail: np.ndarray
    head: np.ndarray
    step: np.ndarray
    rise: np.ndarray
    scale: np.ndarray

    def band(self, start: int, stop: int) -> "Secants":
        """Return the secants of ranks start to stop."""
        return Secants(self.tail, *(a[:, start:stop] for a in self[1:]))

    def has_few_rows(self) -> bool:
        """Whether there are too few rows for their dimensions to tell curvature from a fault."""
        return len(self.tail) < _FEW_ROWS * self.step.shape[-1]


def neighbor_secants(data: Data, rng: np.random.Generator) -> Secants | None:
    """Take secants between rows and their nearest neighbors, nearest first.

    Returns:
      The secants; None if there are too few rows.
    """
    pool = data.draw(min(_POOL, 4 * BUDGET // data.x.shape[1]), rng)
    count = min(BANDS[-1], len(pool) - 1)
    if count < BANDS[1]:
        return None
    z, y = data.points(pool), data.y[pool].astype(np.float64)
    z = (z - z.mean(0)) / data.unit
    rows = max(_LEAST_ROWS, min(_ROWS, BUDGET // (count * data.dy[0].size)))
    tail = rng.permutation(len(pool))[:rows]
    distance = (z**2).sum(1) - 2 * z[tail] @ z.T
    _, point = np.unique(z, axis=0, return_inverse=True)
    distance[point[tail][:, None] == point] = np.inf  # the row itself, and copies of its point
    head = np.argpartition(distance, count - 1, 1)[:, :count]
    head = np.take_along_axis(head, np.argsort(np.take_along_axis(distance, head, 1), 1), 1)
    step, rise = z[head] - z[tail][:, None], y[head] - y[tail][:, None]
    length = np.linalg.norm(step, axis=-1, keepdims=True)
    step, length = (np.where(length > _SAME_POINT, a, np.nan) for a in (step, length))
    slope = np.sqrt(mean_of((rise / length) ** 2, 1))
    slope = np.hypot(slope, _FLAT * median_of(slope, 0) + TINY)
    return _labeled(data, Secants(pool[tail], pool[head], step, rise, slope[:, None] * length))


def difference_secants(data: Data, values: Values, rng: np.random.Generator) -> Secants:
    """Take slopes of fn along single inputs as rises over steps of 1.

    Returns:
      The secants, with rises NaN where slopes are uncertain.
    """
    size = data.x.shape[1]
    if size <= _ALL_PROBES:
        probes = np.arange(size)
    else:
        probes = np.sort(rng.choice(size, _SOME_PROBES, replace=False))
    least, most = _DIFFERENCE_ROWS
    affordable = min(_DIFFERENCES, BUDGET // data.dy[0].size) // len(probes)
    rows = data.draw(max(least, min(most, affordable)), rng)
    rise, uncertainty = slopes_of(data, values, data.points(rows), probes)
    rms = np.sqrt(mean_of(rise**2, 0))
    noise = np.nanmax(np.abs(data.y[rows]), 0, initial=0.0) * math.sqrt(values.eps)
    scale = np.hypot(rms, _FLAT_INPUT * np.sqrt(mean_of(rms**2, 0)) + noise + TINY)
    rise = np.where(uncertainty < _UNCERTAIN * (np.abs(rise) + scale), rise, np.nan)
    step = np.zeros([len(probes), size])
    step[np.arange(len(probes)), probes] = 1.0
    head = np.repeat(rows[:, None], len(probes), 1)
    return _labeled(data, Secants(rows, head, step[None], rise, scale[None]))


def _labeled(data: Data, secants: Secants) -> Secants:
    """The secants with rises NaN where a label that they need is missing."""
    missing = np.isnan(implied_rises(data, secants).sum(-1))
    return secants._replace(rise=np.where(missing, np.nan, secants.rise))


def implied_rises(
    data: Data,
    secants: Secants,
    rows: np.ndarray | None = None,
    order: np.ndarray | None = None,
) -> np.ndarray:
    """Compute the rise that dy implies, ½ (dy_tail + dy_head) step, by input.

    Args:
      data: the labels.
      secants: the steps.
      rows: [B], in which row a row's label is found; by default in its own.
      order: [K,D], where in a label each entry is found; by default in its own place.

    Returns:
      [A,N,K,D]: its sum over D is the rise.
    """

    def slopes(index):
        dy = data.dy[index if rows is None else rows[index]]
        if order is not None:
            dy = dy.reshape(*index.shape, -1)[..., order]
        return dy.astype(np.float64) * data.unit

    step = secants.step[:, :, None]
    mean = (slopes(secants.tail)[:, None] + slopes(secants.head)) / 2
    return np.where(step == 0, 0.0, mean * step)
