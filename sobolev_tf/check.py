"""The label check: are these the derivatives of these values?

Evidence, hypotheses, verdict. The evidence is *secants*: rises of y over steps of x, between
neighbouring rows or, where the function is at hand, its finite differences. A hypothesis says
which rises the labels promise: as they are, times a factor, rearranged, or taken at other points.
The verdict is the simplest one that comes clearly closer to the evidence than the labels as they
are; where none does, the residuals are looked at; where they say nothing, it is "cannot tell".

Shapes: x [B,*in], y [B,*out], dy [B,*out,*in] are flat inside: [B,D], [B,K], [B,K,D]. Secants
have the axes [A,N]: N steps from each of A rows.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sobolev_tf import labels

POOL, ROWS, BANDS = 4096, 800, (0, 4, 12, 32)  # rows searched, rows checked, neighbours by rank
BUDGET = 2**22  # numbers in the largest array
EXACT, CLOSE = 5e-3, 2e-2  # relative errors that pass: finite differences, neighbours
TELLING = 0.6  # what labels that say something leave of the squared misfit of zero labels


@dataclasses.dataclass(frozen=True)
class Finding:
    """A fault, or that the data cannot tell.

    outputs, inputs: the components concerned, as indices into y[row] and x[row] (tuples for
    images); empty: all. number: how many times too large dy is (wrong scale, wrong sign), the
    rows' offset (NaN: none), the entries out of place, the distance to the other points in
    standard deviations of x, the share of steps or rows concerned, or a relative error.
    """

    kind: str
    number: float
    message: str
    outputs: tuple = ()
    inputs: tuple = ()

    def __str__(self):
        parts = [
            f"{name} {', '.join(map(str, indices[:6]))}{', ...' * (len(indices) > 6)}"
            for name, indices in (("output", self.outputs), ("input", self.inputs))
            if indices
        ]
        return ": ".join([self.kind, *([", ".join(parts)] if parts else []), self.message])


@dataclasses.dataclass(frozen=True)
class LabelCheck:
    """What `check_labels` found; print it.

    ok: no fault was found. decided: the data could have shown one. error: how far the rises that
    dy promises are from those of y: 0 where labels agree, about 1 where they say nothing, above
    1 where they mislead.
    """

    findings: tuple
    error: float
    evidence: str

    @property
    def ok(self) -> bool:
        return all(f.kind == "cannot tell" for f in self.findings)

    @property
    def decided(self) -> bool:
        return all(f.kind != "cannot tell" for f in self.findings)

    def __str__(self):
        verdict = "labels agree" if self.decided else "labels not decided"
        if not self.ok:
            only_kinks = {f.kind for f in self.findings} == {"kinks"}
            verdict = "labels agree, but for kinks" if only_kinks else "labels disagree"
        lines = [f"{verdict}: error {self.error:.2g} over {self.evidence}"]
        lines += [f"- {f}" for f in self.findings[:12]]
        return "\n".join(lines + ["- ..."] * (len(self.findings) > 12))


def check_labels(x, y, dy, fn: Callable | None = None, *, seed: int = 0) -> LabelCheck:
    """Are dy the derivatives of y at x? Names what is wrong: print the answer.

    x [B,*in], y [B,*out], dy [B,*out,*in] (one output: also y [B], dy [B,*in]); NaN marks a
    missing label. fn, x -> y on arrays or tensors, if at hand: then each component is checked by
    finite differences at some rows. Without it neighbours decide, y_j - y_i against
    ½ (dy_i + dy_j) (x_j - x_i), which takes points close to each other.

    Kinds of findings: "wrong sign", "wrong scale", "swapped axes", "shuffled rows", "other
    points", "kinks", "noise", "wrong values" (with fn), "disagree" (none of these), and "cannot
    tell", which is no fault. At most a few thousand rows are looked at, drawn by `seed`.

    Raises ValueError where shapes do not fit, or x or a label is infinite.

    >>> x = np.random.default_rng(0).uniform(-2, 2, [500, 2])
    >>> y, dy = np.sin(x).sum(1), np.cos(x)
    >>> check_labels(x, y, dy).ok
    True
    >>> print(check_labels(x, y, dy * [1, -1], fn=lambda x: np.sin(x).sum(1)))
    labels disagree: error 0.9 over finite differences at 128 rows
    - wrong sign: input 1: dy points against the rise of y: turn it round
    """
    data = _read(x, y, dy)
    rng = np.random.default_rng(seed)
    if fn is None:
        return _check_by_neighbours(data, rng)
    return _check_by_function(data, fn, rng)


_NONE = Finding("cannot tell", 1.0, "too few rows have both a value and a derivative")


def _check_by_neighbours(data, rng) -> LabelCheck:
    secants = _neighbours(data, rng)
    if secants is None or np.isfinite(secants.rise).sum() < 8:
        return LabelCheck((_NONE,), 1.0, "no pairs of neighbours")
    tried = []
    # As near as possible, against curvature; further where nothing explains that: noise.
    for start, stop in itertools.pairwise(BANDS):
        band = secants.band(start, stop)
        if band.step.shape[1] and (not tried or tried[-1][0] > CLOSE):
            found = _explain(data, band, CLOSE, wider=secants.band(0, 3 * stop))
            tried.append((_share(band, found.rise), band, found))
    _, band, found = min(tried, key=lambda t: t[0])
    error = math.sqrt(_share(band, _terms(data, band).sum(-1)))
    residual = secants.rise - _terms(data, secants).sum(-1)
    findings = found.findings or _suspicions(data, secants, residual, error)
    return LabelCheck(tuple(findings), error, f"{band.rise[..., 0].size} pairs of neighbours")


def _check_by_function(data, fn, rng) -> LabelCheck:
    if not len(data.draw(1, rng)):
        return LabelCheck((_NONE,), 1.0, "no rows")
    values = _values_of(fn, data)
    secants = _differences(data, values, rng)
    rows, terms = secants.tail, _terms(data, secants)
    found = _explain(data, secants, EXACT, wider=secants)
    findings = _random(data, values, rows)
    if not findings:
        findings += _wrong_values(data, values, rows) + found.findings
        if np.isfinite(secants.rise).sum() < 0.5 * np.isfinite(terms.sum(-1)).sum():
            text = "finite differences of fn vary with their step: is it smooth, and precise?"
            findings.append(Finding("cannot tell", math.nan, text))
        elif found.misfit > 3 * EXACT:
            findings += _remainder(data, values, secants, found)
        findings += _kinks(data, values, rows, rng)
    error = math.sqrt(_share(secants, terms.sum(-1)))
    return LabelCheck(tuple(findings), error, f"finite differences at {len(rows)} rows")


# ---- evidence ----


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


def _read(x, y, dy) -> Data:
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
    dy = labels.conform(dy, [None, *out, *inputs], list(out), "dy").numpy()
    rows, size_in, size_out = len(x), math.prod(inputs), math.prod(out)
    x, y, dy = (
        x.reshape(rows, size_in),
        y.reshape(rows, size_out),
        dy.reshape(rows, size_out, size_in),
    )
    unit = x.std(0, dtype=np.float64) if rows else np.ones(size_in)
    return Data(x, y, dy, np.where(unit > 0, unit, 1.0), inputs, out)


def _neighbours(data, rng) -> Secants | None:
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
    slope = np.sqrt(_mean((rise / length) ** 2, 1))
    slope = np.hypot(slope, 0.1 * _median(slope, 0) + 1e-30)  # flat places count less
    return _labelled(data, Secants(pool[tail], pool[head], step, rise, slope[:, None] * length))


class Values(NamedTuple):
    """fn on flat points: at [N,D] -> [N,K] in float64; eps, the precision of what it returns."""

    at: Callable
    eps: float


def _values_of(fn, data) -> Values:
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
    precision = float(max(eps[-1], _median(noise)))
    return Values(lambda points: at(points, convert), precision)


def _differences(data, values, rng) -> Secants:
    """Slopes of fn along single inputs as rises over steps of 1, NaN where they are uncertain."""
    size = data.x.shape[1]
    probes = np.arange(size) if size <= 64 else np.sort(rng.choice(size, 32, replace=False))
    most = min(2048, BUDGET // data.dy[0].size) // len(probes)
    rows = data.draw(max(8, min(128, most)), rng)
    rise, doubt = _slopes(data, values, data.points(rows), probes)
    rms = np.sqrt(_mean(rise**2, 0))
    noise = np.nanmax(np.abs(data.y[rows]), 0, initial=0.0) * math.sqrt(values.eps)
    scale = np.hypot(rms, 0.01 * np.sqrt(_mean(rms**2, 0)) + noise + 1e-30)
    rise = np.where(doubt < 0.01 * (np.abs(rise) + scale), rise, np.nan)
    step = np.zeros([len(probes), size])
    step[np.arange(len(probes)), probes] = 1.0
    head = np.repeat(rows[:, None], len(probes), 1)
    return _labelled(data, Secants(rows, head, step[None], rise, scale[None]))


def _labelled(data, secants) -> Secants:
    """The secants with rises NaN where a label that they need is missing."""
    missing = np.isnan(_terms(data, secants).sum(-1))
    return secants._replace(rise=np.where(missing, np.nan, secants.rise))


def _slopes(data, values, points, probes):
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


def _mean(a, axis=None):
    """Mean of what is not NaN; NaN where nothing is left."""
    count = np.isfinite(a).sum(axis)
    return np.where(count, np.nansum(a, axis) / np.maximum(count, 1), np.nan)


def _spread(a):
    """Standard deviation along the first axis of what is not NaN; a little where there is none."""
    size = np.nanmax(np.abs(a), 0, initial=0.0)
    return np.nan_to_num(np.sqrt(_mean((a - _mean(a, 0)) ** 2, 0))) + 1e-5 * size + 1e-30


def _median(a, axis=None):
    """Median of what is not NaN; 0 where nothing is left."""
    return np.nanmedian(np.where(np.isfinite(a).any(axis, keepdims=True), a, 0.0), axis)


# ---- hypotheses ----


class Hypothesis(NamedTuple):
    """Findings that would explain the labels, the rises promised then [A,N,K], their misfit."""

    findings: list
    rise: np.ndarray
    misfit: float


def _loss(secants, rise):
    """e²/(1+e²) for the relative errors e of promised rises, [A,N,K]: outliers count little."""
    square = ((secants.rise - rise) / secants.scale) ** 2
    return square / (1 + square)


def _suppose(secants, findings, rise) -> Hypothesis:
    loss = _loss(secants, rise)
    seen = np.isfinite(loss).sum() > 0.3 * np.isfinite(secants.rise).sum()
    return Hypothesis(findings, rise, math.sqrt(_mean(loss)) if seen else 1.0)


def _share(secants, rise) -> float:
    """Squared misfit as a share of that of labels which say nothing (zero)."""
    return float(np.nan_to_num(_mean(_loss(secants, rise)) / (_mean(_loss(secants, 0.0)) + 1e-9)))


def _terms(data, secants, rows=None, order=None):
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


def _explain(data, secants, tolerance, wider) -> Hypothesis:
    """The simplest hypothesis about as good as the best, if clearly better than none.

    wider: the secants that factors and shifts are fitted to.
    """
    terms = _terms(data, secants)
    plain = _suppose(secants, [], terms.sum(-1))
    if plain.misfit < 1e-3 * tolerance or not np.isfinite(secants.rise).any():
        return plain
    one, by_output, by_input, by_entry = _scaled(data, secants, terms, tolerance, wider)
    rearranged, moved = _rearranged(data, secants), _moved(data, secants, plain.rise, wider)
    contenders = [*one, *by_output, *rearranged, *by_input, *moved, *by_entry]
    least = min([c.misfit for c in contenders], default=1.0)
    for each in contenders:
        if each.misfit**2 <= 1.2 * least**2 + tolerance**2:
            sound = _share(secants, each.rise) < TELLING
            return each if sound and _clearly(secants, each, plain, tolerance) else plain
    return plain


def _clearly(secants, new, old, tolerance) -> bool:
    """Whether new leaves almost nothing, or much less than old, far beyond chance of rows."""
    if new.misfit < 0.1 * old.misfit:
        return old.misfit > tolerance
    gain = _mean(_loss(secants, old.rise) - _loss(secants, new.rise), (1, 2))
    gain = gain[np.isfinite(gain)]
    enough = 0.1 if new.findings[0].kind in ("wrong sign", "wrong scale") else 0.5
    least = max(tolerance**2, enough * old.misfit**2)
    return len(gain) > 1 and gain.mean() > max(least, 5 * gain.std() / math.sqrt(len(gain)))


def _scaled(data, secants, terms, tolerance, wider) -> Iterator[list]:
    """dy times factors: one for all, one for each output, for each input, for each entry."""
    target = wider.rise / wider.scale
    parts = _terms(data, wider) / wider.scale[..., None]
    # The trapezoid's own error grows as the cube of the step: told apart, it makes no factor.
    cubes = parts * (wider.step**2 * (wider.head != wider.tail[:, None])[..., None])[:, :, None]
    seen = np.flatnonzero((np.nan_to_num(parts) != 0).any((0, 1, 2)))
    summed = parts.sum(-1, keepdims=True), cubes.sum(-1, keepdims=True), slice(None)
    single = parts[..., seen], cubes[..., seen], seen
    everything, each = [slice(None)], [[k] for k in range(target.shape[-1])]
    for (features, beside, inputs), outputs in itertools.product(
        (summed, single), (everything, each)
    ):
        if outputs is each and len(each) == 1:
            yield []  # the same as everything
            continue
        c, error = np.ones(terms.shape[2:]), np.zeros(terms.shape[2:])
        for k in outputs:
            fit = _fit(features[:, :, k], beside[:, :, k], target[:, :, k], 1.0)
            c[k, inputs], error[k, inputs] = fit
        # What is left unexplained could have made a small deviation from 1.
        left = _suppose(secants, [], (terms * c).sum(-1)).misfit
        margin = np.maximum(5 * error, max(tolerance, 4 * left))
        for sign in (1.0, -1.0):
            away = np.maximum(c * sign, 1 / np.maximum(c * sign, 1e-30)) - 1
            c = np.where(away < margin, sign, c)
        sound = np.isfinite(c).all() and (c != 1).any()
        yield [_suppose(secants, _name_factors(data, c), (terms * c).sum(-1))] if sound else []


def _fit(features, beside, target, prior):
    """Robust least squares of target [...] by features [...,P]: coefficients, standard errors.

    beside [...,P] is fitted along and not returned. Coefficients that nothing depends on keep
    their prior; NaN for too few equations.
    """
    size = features.shape[-1]
    features = np.concatenate([features, beside], -1)
    use = np.isfinite(features).all(-1) & np.isfinite(target)
    f, t = features[use], target[use]
    if len(f) < 20 * size or size > 256:
        return np.nan, np.nan
    unit = np.sqrt((f**2).mean(0))
    f = np.where(unit > 1e-8, f, 0.0) / (unit := np.maximum(unit, 1e-8))
    prior, weight = unit * np.repeat([prior, 0.0], size), np.ones_like(t)
    for _ in range(5):
        gram = (f * weight[:, None]).T @ f + 1e-9 * np.eye(2 * size)
        c = np.linalg.solve(gram, f.T @ (weight * t) + 1e-9 * prior)
        error = t - f @ c
        weight = 1 / (1 + (error / (1.5 * np.median(np.abs(error)) + 1e-3)) ** 2)
    score = (f * (weight * error)[:, None]) @ np.linalg.inv(gram)
    return (c / unit)[:size], (np.linalg.norm(score, axis=0) / unit)[:size]


def _name_factors(data, c) -> list:
    """Findings for the factors c [K,D] that put dy right, alike components together."""
    findings, outputs = [], {}
    for k, row in enumerate(c):
        outputs.setdefault(tuple(np.round(row, 6)), []).append(k)
    for row, ks in outputs.items():
        todo = [d for d in range(len(row)) if row[d] != 1]
        while todo:
            value = row[todo[0]]
            same = [d for d in todo if abs(row[d] - value) <= 0.02 * abs(value)]
            todo = [d for d in todo if d not in same]
            where = (_names(data.shape_out, ks), _names(data.shape_in, same))
            if abs(value) < 1e-6:
                text = "y does not change along it, while dy says so"
                findings.append(Finding("disagree", math.inf, text, *where))
                continue
            if value < 0:
                text = "dy points against the rise of y: turn it round"
                findings.append(Finding("wrong sign", 1 / value, text, *where))
            if abs(value) != 1:
                size = 1 / abs(value)
                text = (
                    f"dy is {size:.4g} times the slope of y{_hint(data, size, same)}: divide by it"
                )
                findings.append(Finding("wrong scale", size, text, *where))
    return findings


def _hint(data, factor, inputs) -> str:
    unit = np.median(data.unit[inputs])
    known = {
        "π/180: degrees or radians?": math.pi / 180,
        "180/π: degrees or radians?": 180 / math.pi,
        "the standard deviation of the input: scaled x?": unit,
        "1 / the standard deviation of the input: scaled x?": 1 / unit,
    }
    return next((f" ({text})" for text, v in known.items() if abs(factor / v - 1) < 0.02), "")


def _names(shape, indices) -> tuple:
    """Entries of a flat axis as the user indexes them; () for all of them."""
    if len(indices) == math.prod(shape):
        return ()
    names = list(np.ndindex(*shape)) if len(shape) > 1 else range(shape[0])
    return tuple(names[int(i)] for i in indices)


def _rearranged(data, secants) -> Iterator[Hypothesis]:
    """dy with its rows or axes put in another order."""
    for offset in (1, -1, 2, -2, 3, -3):
        text = f"the label of row i is in row i{offset:+d}: np.roll(dy, {-offset}, axis=0)"
        rows = np.roll(np.arange(len(data.dy)), -offset)
        rise = _terms(data, secants, rows=rows).sum(-1)
        yield _suppose(secants, [Finding("shuffled rows", offset, text)], rise)
    entries = np.arange(data.dy[0].size).reshape(data.dy.shape[1:])
    for text, order in _orders(data, secants, entries):
        if moved := int((order != entries).sum()):
            rise = _terms(data, secants, order=order).sum(-1)
            yield _suppose(secants, [Finding("swapped axes", moved, text)], rise)


def _orders(data, secants, entries) -> Iterator:
    """(what is wrong, order [K,D]): where in dy each entry may be found."""
    shape, (outputs, inputs) = data.shape_in, entries.shape
    if outputs == inputs:
        yield "outputs and inputs are transposed: the axes are batch, outputs, inputs", entries.T
    for axes in itertools.permutations(range(len(shape) if len(shape) < 5 else 0)):
        order = np.argsort(np.arange(inputs).reshape(shape).transpose(axes).ravel())
        yield f"the input axes of dy come in the order {axes}", entries[:, order]
    if 1 < inputs <= 256:
        order = _pair(_agreement(data, secants))
        yield f"the inputs of dy are mixed up: {_text('dy[..., {}]', order)}", entries[:, order]
    if 1 < outputs <= 64:
        rise = _terms(data, secants).sum(-1)[..., None, :]
        part = secants._replace(rise=secants.rise[..., None], scale=secants.scale[..., None])
        order = _pair(-_mean(_loss(part, rise), (0, 1)).T)
        yield f"the outputs of dy are mixed up: {_text('dy[:, {}]', order)}", entries[order]


def _text(how, order):
    return f"pass {how.format(order.tolist())}" if len(order) < 9 else "compare their order"


def _agreement(data, secants):
    """How well each input's entry of dy agrees with the slope along each input, [D,D], by moments.

    A rise times its step over the step's squared length is the slope on average, so this is
    2 E dy_d slope_e - E dy_d²: their squared distance, turned round, up to a constant.
    """
    length = np.linalg.norm(secants.step, axis=-1)[..., None]
    weight = 1 / _mean(secants.scale / length, 1)[:, None, :, None]
    mean = (data.dy[secants.tail][:, None] + data.dy[secants.head].astype(np.float64)) / 2 * weight
    way = secants.step / length
    slope = (secants.rise / length)[..., None] * way[:, :, None] * weight
    use = np.isfinite(mean).all(-1) & np.isfinite(slope).all(-1)
    mean, slope, way = mean[use], slope[use], way[np.isfinite(way).all(-1)]
    spread = way.T @ way / len(way) + 1e-6 * np.eye(way.shape[1])
    cross = mean.T @ slope @ np.linalg.inv(spread) / data.unit
    return 2 * cross - (mean**2).sum(0)[:, None]


def _pair(score):
    """For each column of a square matrix a row, each once, by the largest entries."""
    order = np.full(len(score), -1)
    for i in np.argsort(-score, None):
        row, column = divmod(int(i), len(score))
        if order[column] < 0 and row not in order:
            order[column] = row
    return order


def _moved(data, secants, rise, wider) -> Iterator[Hypothesis]:
    """Labels of points x + δ: to first order their rises are too large by δ (dy_head - dy_tail)."""

    def change(part):
        return data.slopes(part.head) - data.slopes(part.tail)[:, None]

    features = -change(wider) / wider.scale[..., None]
    left = (wider.rise - _terms(data, wider).sum(-1)) / wider.scale
    square = (wider.step**2).mean(-1)[..., None, None]
    shift, error = _fit(features, features * square, left, 0.0)
    if np.isfinite(shift).all() and np.abs(shift).max() > max(1e-2, 5 * np.max(error)):
        yield _suppose(secants, [_other_points(data, shift)], rise - change(secants) @ shift)


def _other_points(data, shift) -> Finding:
    size = float(np.linalg.norm(shift))
    place = (
        f"at x + {np.array2string(shift * data.unit, precision=3)}" if len(shift) < 9 else "off x"
    )
    return Finding(
        "other points", size, f"dy was taken {place}, {size:.2g} standard deviations away"
    )


# ---- residuals of neighbours ----


def _suspicions(data, secants, residual, error) -> list:
    """What the residuals [A,N,K] say where no hypothesis explains them."""
    outliers = _outliers(data, secants.band(0, BANDS[2]), residual[:, : BANDS[2]])
    if outliers:
        return outliers
    power = _growth(secants, residual)
    usual = _median(np.abs(residual[:, :4]) / secants.scale[:, :4])
    scatter = math.sqrt(_mean((residual[:, :4] / _spread(data.y)) ** 2) / 2)
    if usual > CLOSE / 2 and error < 0.9 and power < 1.0 and scatter > 3e-3:
        text = f"values scatter by {scatter:.2g} of their spread about what dy promises"
        return [Finding("noise", scatter, text)]
    size = secants.step.shape[-1]
    part = secants.band(0, 2 * size + 4)
    wrong = usual > CLOSE / 2 and ((error < 0.45 and power < 1.7) or (error < 0.8 and power < 1.35))
    if part.step.shape[1] == 2 * size + 4 and usual > CLOSE / 2:
        unrelated = _unrelated(data, part, residual[:, : 2 * size + 4], error, wrong)
        if unrelated:
            return unrelated
    elif wrong:
        text = f"dy is off by about {error:.2g}: residuals grow as the step, not as its cube"
        return [Finding("disagree", error, text)]
    if error**2 > TELLING:
        text = f"{len(data.x)} points in {size} dimensions are too few or too far apart: give fn"
        return [Finding("cannot tell", error, text)]
    return []


def _growth(secants, residual):
    """Power of the step with which residuals grow, row by row, and three standard errors more.

    3 for the trapezoid of a smooth function, 1 for wrong derivatives, 0 for noisy values.
    """
    size = np.log(np.abs(residual) + 1e-9 * secants.scale)
    length = np.log(np.linalg.norm(secants.step, axis=-1) + 1e-30)[..., None] + 0 * size
    size, length = (a - _mean(a, 1)[:, None] for a in (size, length))
    weight = np.nansum(length**2) + 1e-30
    power = np.nansum(size * length) / weight
    return power + 3 * math.sqrt(np.nansum((size - power * length) ** 2 * length**2)) / weight


def _unrelated(data, part, residual, error, wrong) -> list:
    """Shuffled, noisy or plainly other derivatives, where values are smooth."""
    use = np.isfinite(part.rise).all(-1, keepdims=True)
    step, rise, r = (np.where(use, a, 0.0) for a in (part.step, part.rise, residual))
    fit = np.linalg.pinv(step)
    # Slopes fitted to values alone: do they foretell each left out rise better than dy?
    left = np.maximum(1 - np.einsum("and,adn->an", step, fit), 1e-3)[..., None]
    own = _loss(part, part.rise - (rise - step @ (fit @ rise)) / left)
    gain = _mean(_loss(part, part.rise - residual) - own, (1, 2))
    gain = gain[np.isfinite(gain)]
    better = gain.mean() > 0.5 * _mean(own) + 5 * gain.std() / math.sqrt(len(gain))
    better = better and _mean(own) <= TELLING * _mean(_loss(part, 0.0))
    if not better and not wrong:
        return []
    given, own = data.slopes(part.tail), np.swapaxes(fit @ rise, 1, 2)
    both = [a - _median(a, 0) for a in (own, given)]
    a, b = (np.nan_to_num(a / (np.abs(a) + _median(np.abs(a), 0) + 1e-30)) for a in both)
    like = (a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-30)
    near = np.abs(data.slopes(part.head[:, :4]) - given[:, None])
    rough = _median(
        _median(near, (0, 1)) / (_median(np.abs(given - np.roll(given, 1, 0)), 0) + 1e-30)
    )
    # Errors that a row shares with all its steps are linear in the step; half of noise is not.
    scatter = ((r - step @ (fit @ r)) ** 2).sum(1) / (step.shape[1] - step.shape[2])
    shared = 1 - np.median(scatter / ((r**2).mean(1) + 1e-30))
    if like < 0.3 and rough > 0.75:
        text = "dy differs between neighbours as between any rows, y does not: in another order?"
        return [Finding("shuffled rows", math.nan, text)]
    if like > 0.3 and shared < 0.7:
        text = f"derivatives scatter from row to row, by about {error:.2g}"
        return [Finding("noise", error, text)]
    return [Finding("disagree", error, f"dy is unlike slopes fitted to y (likeness {like:.2f})")]


def _outliers(data, near, residual) -> list:
    """A few pairs disagree, their neighbours do not: kinks between them, or some bad rows."""
    error = np.abs(residual) / near.scale
    length = np.linalg.norm(near.step, axis=-1)[..., None]
    # Long steps, into sparse corners, have a right to disagree.
    short = length <= 1.5 * _median(length[:, :4])
    usual = _median(error[:, :4])
    if _median(length[:, :4]) > 0.4 * math.sqrt(2 * near.step.shape[-1]):
        return []  # neighbours are as far apart as any rows
    found = short & (error > max(0.1, 100 * usual))
    found[:, 4:] = False
    share = found[:, :4].sum() / max(short[:, :4].sum() * error.shape[-1], 1)
    if found.sum() < 6 or not 0.005 < share < 0.25 or np.median(error[found]) < 0.2:
        return []
    rows = found.any((1, 2))
    calm = np.nanquantile(error[rows], 0.25, axis=1) < 10 * usual + 1e-4
    if calm.mean() < 0.43:
        return []  # everything is rough there: points too far apart, not a kink
    change = data.slopes(near.head) - data.slopes(near.tail)[:, None]
    bend = np.abs((change * near.step[:, :, None]).sum(-1)) + 1e-12 * near.scale
    # Across a kink the residual is between nothing and half of the bend; a bad row makes half.
    ratio = np.median((np.abs(residual) / bend)[found])
    if ratio < 0.45:
        text = f"the slope jumps inside {share:.1%} of the pairs; elsewhere labels agree"
        return [Finding("kinks", share, text)] if ratio > 0.14 else []
    text = f"{share:.1%} of the pairs disagree, others do not: bad rows near {near.tail[rows][:3]}"
    return [Finding("disagree", share, text)]


# ---- what finite differences leave ----


def _wrong_values(data, values, rows) -> list:
    """What is wrong with y, where fn is at hand."""
    points, given = data.points(rows), data.y[rows].astype(np.float64)
    true = values.at(points)
    spread = np.maximum(_spread(true), 1e2 * values.eps * np.nanmax(np.abs(true), 0, initial=0.0))
    findings = []
    for k, size in enumerate(np.sqrt(_mean(((given - true) / spread) ** 2, 0)).tolist()):
        if size > 1e-3:
            noise = size < 0.5 and _coherence(points / data.unit, (given - true)[:, [k]]) < 0.4
            kind, text = ("noise", "scatters about") if noise else ("wrong values", "is not")
            text = f"y {text} fn(x): they differ by {size:.2g} of its spread"
            findings.append(Finding(kind, size, text, _names(data.shape_out, [k])))
    return findings


def _random(data, values, rows) -> list:
    first, again = values.at(data.points(rows)), values.at(data.points(rows))
    change = float(np.nanmax(np.abs(again - first) / _spread(first), initial=0.0))
    text = "fn gives other values when asked again: make it the same each time"
    return [Finding("noise", change, text)] if change > 1e-4 else []


def _coherence(points, errors) -> float:
    """How much of errors [A,M] is their mean, or shared by nearest neighbours: 0 for noise."""
    distance = ((points[:, None] - points) ** 2).sum(-1) + 1e300 * np.eye(len(points))
    errors = np.nan_to_num(errors)
    shared = np.abs((errors * errors[distance.argmin(1)]).sum())
    steady = 2 * len(errors) * (errors.mean(0) ** 2).sum()
    return float(max(shared, steady) / ((errors**2).sum() + 1e-300))


def _remainder(data, values, secants, found) -> list:
    """What is left to explain: other points, another order, bad rows, noise."""
    if not found.findings:
        for other in (_from_other_points, _from_other_rows):
            for each in other(data, values, secants, found):
                if each.misfit < max(EXACT, 0.1 * found.misfit):
                    return each.findings
    left = ((secants.rise - found.rise) / secants.scale).reshape(len(secants.tail), -1)
    size = found.misfit / math.sqrt(1 - min(found.misfit, 0.999) ** 2)
    bad = (np.abs(left) > 10 * EXACT).any(1)
    if 0 < bad.mean() < 0.3:
        text = f"{bad.mean():.0%} of the rows disagree, such as row {secants.tail[bad.argmax()]}"
        return [Finding("disagree", float(bad.mean()), text)]
    if size < 0.7 and _coherence(data.points(secants.tail) / data.unit, left) < 0.4:
        return [Finding("noise", size, f"derivatives scatter about the true ones, by {size:.2g}")]
    return [Finding("disagree", size, f"dy is not the derivative of fn, by {size:.2g} of it")]


def _from_other_points(data, values, secants, found) -> Iterator[Hypothesis]:
    """Newton's method for the shift δ of all points that makes fn's slopes those of dy."""
    size, width = data.x.shape[1], 1e-2
    if size > 16:
        return  # 8 D² evaluations a row
    probes, shift = np.arange(size), np.zeros(size)
    rows = secants.tail[: max(16, 20 * size // data.dy[0].size + 1)]
    wanted = np.swapaxes(data.slopes(rows), 1, 2)
    for _ in range(6):
        slopes = [
            _slopes(data, values, data.points(rows) + (shift + move) * data.unit, probes)[0]
            for move in (0.0, *(width * np.eye(size)))
        ]
        change = np.stack(slopes[1:], -1) - slopes[0][..., None]
        change = change / width / secants.scale[..., None]
        step, _ = _fit(change, 0 * change, (wanted - slopes[0]) / secants.scale, 0.0)
        if not np.isfinite(step).all():
            return
        shift = shift + step / max(1.0, 2 * np.linalg.norm(step))
    there = _slopes(data, values, data.points(secants.tail) + shift * data.unit, probes)[0]
    # What dy says of fn there, carried over to x.
    yield _suppose(secants, [_other_points(data, shift)], secants.rise - there + found.rise)


def _from_other_rows(data, values, secants, found) -> Iterator[Hypothesis]:
    """Each row's label looked up in the row that fits best."""
    probe, output = np.divmod(np.arange(secants.rise[0].size)[:32], secants.rise.shape[2])
    inputs = secants.step[0].argmax(1)[probe]
    scale = secants.scale[0, probe, output]
    slopes = np.nan_to_num(secants.rise[:, probe, output] / scale)
    given = np.nan_to_num(data.dy[:, output, inputs] * (data.unit[inputs] / scale), nan=1e9)
    rows = np.arange(len(given))
    rows[secants.tail] = ((given**2).sum(1) - 2 * slopes @ given.T).argmin(1)
    offsets = (rows[secants.tail] - secants.tail) % len(rows)
    offset = int(np.median(offsets))
    rise = _terms(data, secants, rows=rows).sum(-1)
    if offset and (offsets == offset).mean() > 0.8:
        text = f"the label of row i is in row i+{offset}: np.roll(dy, {-offset}, axis=0)"
        yield _suppose(secants, [Finding("shuffled rows", offset, text)], rise)
    elif found.misfit > 0.5:
        # Among many rows some fit noisy derivatives too: but then the right ones are not far off.
        text = "each label is found in some other row: dy is in another order than x"
        yield _suppose(secants, [Finding("shuffled rows", math.nan, text)], rise)


def _kinks(data, values, rows, rng) -> list:
    """Where the slope of fn jumps on lines between rows, found by bisection.

    Halving a piece of the line halves the change of a smooth slope over it; a jump stays.
    """
    start = data.points(rows)
    line = start[rng.permutation(len(rows))] - start
    width, length = values.eps**0.4, 1.0
    halvings = min(14, int(-np.log2(4 * width)))
    if halvings < 6:
        return []  # fn is not precise enough
    mix = rng.choice([-1, 1], data.y.shape[1]) / _spread(data.y[rows])

    def look(at):  # value and slope at this share of each line, [2,A]
        y = [values.at(start + (at + move)[:, None] * line) @ mix for move in (-width, width)]
        return np.stack([(y[0] + y[1]) / 2, (y[1] - y[0]) / 2 / width])

    def change(a, b):
        return np.abs(b[1] - a[1]) + np.abs(b[0] - a[0] - length * (a[1] + b[1]) / 2) / length

    at, changes = np.zeros(len(rows)), []
    left, right = look(at), look(at + 1)
    usual = np.sqrt(_mean(left[1] ** 2)) + 1e-3
    for _ in range(halvings):
        length = length / 2
        middle = look(at + length)
        lower = change(left, middle) > change(middle, right)
        left, right = np.where(lower, left, middle), np.where(lower, middle, right)
        at = np.where(lower, at, at + length)
        changes.append(np.nan_to_num(change(left, right) / usual))
    found = (changes[-1] > 0.7 * changes[-4]) & (changes[-1] > 0.02)
    if not found.any():
        return []
    place = (start + at[:, None] * line)[np.argmax(found * changes[-1])]
    place = np.array2string(place, precision=3, threshold=8)
    text = f"the slope of fn jumps on {found.mean():.0%} of the lines between rows, as at {place}"
    return [Finding("kinks", float(found.mean()), text)]
