"""Evidence: rises of y over steps of x, between neighbours or by finite differences of fn."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

POOL, ROWS, BANDS = 4096, 800, (0, 4, 12, 32)  # rows searched, rows checked, neighbours by rank
BUDGET = 2**22  # numbers in the largest array
EXACT, CLOSE = 5e-3, 2e-2  # relative errors that pass: finite differences, neighbours


class Data(NamedTuple):
    """x [B,D], y [B,K], dy [B,K,D] as they came; unit [D], the standard deviation of each input.

    shape_in, shape_out: the axes before they were made flat.
    """

    x: np.ndarray
    y: np.ndarray
    dy: np.ndarray
    unit: np.ndarray
    shape_in: tuple
    shape_out: tuple

    def points(self, rows):
        return self.x[rows].astype(np.float64)

    def slopes(self, rows):
        """dy of rows [...], per standard deviation of the inputs: [...,K,D]."""
        return self.dy[rows].astype(np.float64) * self.unit

    def draw(self, count, rng):
        """Up to `count` rows that have a value and a derivative, in order."""
        rows = np.isfinite(self.y).any(1) & np.isfinite(self.dy).any((1, 2))
        rows = np.flatnonzero(rows)
        return np.sort(rng.choice(rows, count, replace=False)) if len(rows) > count else rows


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

    def band(self, start, stop):
        return Secants(self.tail, *(a[:, start:stop] for a in self[1:]))


def read_data(x, y, dy) -> Data:
    """The data, flat, or ValueError."""
    x, y, dy = (np.asarray(a) for a in (x, y, dy))
    for name, a in (("x", x), ("y", y), ("dy", dy)):
        if a.ndim == 0 or len(a) != len(x):
            raise ValueError(
                f"{name} has shape {list(a.shape)}, expected {len(x) if x.ndim else 'B'} rows: "
                "x, y and dy belong together row by row."
            )
        if np.isinf(a).any() or (name == "x" and np.isnan(a).any()):
            raise ValueError(f"{name} has entries that are not finite: mend or drop these rows.")
    out, inputs = y.shape[1:] or (1,), x.shape[1:]
    dy = _fit_shape(dy, out, inputs)
    rows, size = len(x), (math.prod(out), math.prod(inputs))
    x, y, dy = x.reshape(rows, size[1]), y.reshape(rows, size[0]), dy.reshape(rows, *size)
    unit = x.std(0, dtype=np.float64) if rows else np.ones(size[1])
    return Data(x, y, dy, np.where(unit > 0, unit, 1.0), inputs, out)


def _fit_shape(dy, out, inputs):
    """dy [B,*out,*in], from that or, with one output, from [B,*in]; or ValueError."""
    shapes = [(*out, *inputs), inputs] if out == (1,) else [(*out, *inputs)]
    if dy.shape[1:] not in shapes:
        expected = " or ".join(str(["B", *shape]).replace("'", "") for shape in shapes)
        raise ValueError(
            f"dy has shape {list(dy.shape)}, expected {expected}: its axes are the batch, the "
            "outputs as in y, the inputs as in x."
        )
    return dy.reshape(len(dy), *out, *inputs)


def neighbour_secants(data, rng) -> Secants | None:
    """Secants between rows and their nearest neighbours, nearest first; None: too few rows."""
    pool = data.draw(min(POOL, 4 * BUDGET // data.x.shape[1]), rng)
    count = min(BANDS[-1], len(pool) - 1)
    if count < 4:
        return None
    z, y = data.points(pool), data.y[pool].astype(np.float64)
    z = (z - z.mean(0)) / data.unit
    tail = rng.permutation(len(pool))[: max(16, min(ROWS, BUDGET // (count * data.dy[0].size)))]
    distance = (z**2).sum(1) - 2 * z[tail] @ z.T
    distance[np.arange(len(tail)), tail] = np.inf
    head = np.argpartition(distance, count - 1, 1)[:, :count]
    head = np.take_along_axis(head, np.argsort(np.take_along_axis(distance, head, 1), 1), 1)
    step, rise = z[head] - z[tail][:, None], y[head] - y[tail][:, None]
    length = np.linalg.norm(step, axis=-1, keepdims=True)
    # The same point twice says nothing of slopes.
    step, length = (np.where(length > 1e-9, a, np.nan) for a in (step, length))
    slope = np.sqrt(mean_of((rise / length) ** 2, 1))
    slope = np.hypot(slope, 0.1 * median_of(slope, 0) + 1e-30)  # flat places count less
    return _labelled(data, Secants(pool[tail], pool[head], step, rise, slope[:, None] * length))


class Values(NamedTuple):
    """fn on flat points: at [N,D] -> [N,K] in float64; eps, the precision of what it returns."""

    at: Callable
    eps: float


def values_of(fn, data) -> Values:
    """fn in the widest precision that it takes, on arrays or tensors."""
    eps = []

    def at(points, convert):
        chunks = np.array_split(points, max(1, math.ceil(len(points) / 1024)))
        with np.errstate(all="ignore"):
            y = [np.asarray(fn(convert(c.reshape(-1, *data.shape_in)))) for c in chunks]
        y = np.concatenate([a.reshape(len(c), -1) for a, c in zip(y, chunks, strict=True)])
        eps.append(np.finfo(y.dtype).eps if y.dtype.kind == "f" else 1e-7)
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
            f"fn returns {y.shape[1]} numbers a row, expected {data.y.shape[1]} as in y: pass the "
            "function that y came from."
        )
    # Double precision outside may be single inside: fourth differences show the rounding.
    x, step = data.points(slice(64)), 1e-4 * data.unit
    y = np.stack([at(x + k * step, convert) for k in (-2, -1, 0, 1, 2)], -1)
    noise = np.abs(y @ [1, -4, 6, -4, 1]) / 8.4 / (np.nanmax(np.abs(y[..., 2]), 0, initial=1e-30))
    precision = float(max(eps[-1], median_of(noise)))
    return Values(lambda points: at(points, convert), precision)


def difference_secants(data, values, rng) -> Secants:
    """Slopes of fn along single inputs as rises over steps of 1, NaN where they are uncertain."""
    size = data.x.shape[1]
    probes = np.arange(size) if size <= 64 else np.sort(rng.choice(size, 32, replace=False))
    most = min(2048, BUDGET // data.dy[0].size) // len(probes)
    rows = data.draw(max(8, min(128, most)), rng)
    rise, doubt = slopes_of(data, values, data.points(rows), probes)
    rms = np.sqrt(mean_of(rise**2, 0))
    noise = np.nanmax(np.abs(data.y[rows]), 0, initial=0.0) * math.sqrt(values.eps)
    scale = np.hypot(rms, 0.01 * np.sqrt(mean_of(rms**2, 0)) + noise + 1e-30)
    rise = np.where(doubt < 0.01 * (np.abs(rise) + scale), rise, np.nan)
    step = np.zeros([len(probes), size])
    step[np.arange(len(probes)), probes] = 1.0
    head = np.repeat(rows[:, None], len(probes), 1)
    return _labelled(data, Secants(rows, head, step[None], rise, scale[None]))


def _labelled(data, secants) -> Secants:
    """The secants with rises NaN where a label that they need is missing."""
    missing = np.isnan(promised_terms(data, secants).sum(-1))
    return secants._replace(rise=np.where(missing, np.nan, secants.rise))


def slopes_of(data, values, points, probes):
    """Slopes of fn at points [A,D] per standard deviation of inputs, and their doubt: [A,P,K].

    Central differences of fourth order with two widths; the more certain one counts. Where the
    narrow one still sees a bend there is a kink in the point itself, and no slope.
    """
    moves = np.zeros([4, len(probes), data.x.shape[1]])
    moves[:, np.arange(len(probes)), probes] = np.outer((-2, -1, 1, 2), data.unit[probes])
    found = []
    for width in (values.eps**0.2, values.eps**0.2 / 16):
        y = values.at((points[:, None, None] + width * moves).reshape(-1, moves.shape[-1]))
        y = np.moveaxis(y.reshape(len(points), 4, len(probes), -1), 1, 0) / width
        inner, outer = (y[2] - y[1]) / 2, (y[3] - y[0]) / 4
        found.append(((4 * inner - outer) / 3, np.abs(inner - outer) / 3))
    (wide, wide_doubt), (narrow, narrow_doubt) = found
    bend = np.abs(y[3] - y[2] - y[1] + y[0])
    pick = ~(wide_doubt < narrow_doubt)
    doubt = np.maximum(np.where(pick, narrow_doubt, wide_doubt), bend / 8)
    return np.where(pick, narrow, wide), doubt


def mean_of(a, axis=None):
    """Mean of what is not NaN; NaN where nothing is left."""
    count = np.isfinite(a).sum(axis)
    return np.where(count, np.nansum(a, axis) / np.maximum(count, 1), np.nan)


def spread_of(a):
    """Standard deviation along the first axis of what is not NaN; a little where there is none."""
    size = np.nanmax(np.abs(a), 0, initial=0.0)
    return np.nan_to_num(np.sqrt(mean_of((a - mean_of(a, 0)) ** 2, 0))) + 1e-5 * size + 1e-30


def median_of(a, axis=None):
    """Median of what is not NaN; 0 where nothing is left."""
    return np.nanmedian(np.where(np.isfinite(a).any(axis, keepdims=True), a, 0.0), axis)


def promised_terms(data, secants, rows=None, order=None):
    """What each input adds to the promised rise, ½ (dy_tail + dy_head) step: [A,N,K,D].

    rows [B]: in which row a row's label is found; order [K,D]: where in it each entry is found.
    """

    def slopes(index):
        found = data.dy[index if rows is None else rows[index]]
        if order is not None:
            found = found.reshape(*index.shape, -1)[..., order]
        return found.astype(np.float64) * data.unit

    step = secants.step[:, :, None]
    mean = (slopes(secants.tail)[:, None] + slopes(secants.head)) / 2
    return np.where(step == 0, 0.0, mean * step)
