"""Which rises the labels promise: as they are, times a factor, rearranged, or moved."""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sobolev_tf.check.report import Finding
from sobolev_tf.check.secants import mean_of, promised_terms

TELLING = 0.6  # what labels that say something leave of the squared misfit of zero labels


class Hypothesis(NamedTuple):
    """Findings that would explain the labels, the rises promised then [A,N,K], their misfit."""

    findings: list
    rise: np.ndarray
    misfit: float


def robust_loss(secants, rise):
    """e²/(1+e²) for the relative errors e of promised rises, [A,N,K]: outliers count little."""
    square = ((secants.rise - rise) / secants.scale) ** 2
    return square / (1 + square)


def suppose(secants, findings, rise) -> Hypothesis:
    loss = robust_loss(secants, rise)
    seen = np.isfinite(loss).sum() > 0.3 * np.isfinite(secants.rise).sum()
    return Hypothesis(findings, rise, math.sqrt(mean_of(loss)) if seen else 1.0)


def share_of(secants, rise) -> float:
    """Squared misfit as a share of that of zero labels, which say nothing."""
    return float(
        np.nan_to_num(
            mean_of(robust_loss(secants, rise)) / (mean_of(robust_loss(secants, 0.0)) + 1e-9)
        )
    )


def explain(data, secants, tolerance, wider) -> Hypothesis:
    """The simplest hypothesis about as good as the best, if clearly better than none.

    wider: the secants that factors and shifts are fitted to.
    """
    terms = promised_terms(data, secants)
    plain = suppose(secants, [], terms.sum(-1))
    if plain.misfit < 1e-3 * tolerance or not np.isfinite(secants.rise).any():
        return plain
    one, by_output, by_input, by_entry = _scaled(data, secants, terms, tolerance, wider)
    rearranged, moved = _rearranged(data, secants), _moved(data, secants, plain.rise, wider)
    contenders = [*one, *by_output, *rearranged, *by_input, *moved, *by_entry]
    least = min([c.misfit for c in contenders], default=1.0)
    for each in contenders:
        if each.misfit**2 <= 1.2 * least**2 + tolerance**2:
            sound = share_of(secants, each.rise) < TELLING
            return each if sound and _clearly(secants, each, plain, tolerance) else plain
    return plain


def _clearly(secants, new, old, tolerance) -> bool:
    """Whether new leaves almost nothing, or much less than old, far beyond chance of rows."""
    if new.misfit < 0.1 * old.misfit:
        return old.misfit > tolerance
    gain = mean_of(robust_loss(secants, old.rise) - robust_loss(secants, new.rise), (1, 2))
    gain = gain[np.isfinite(gain)]
    enough = 0.1 if new.findings[0].kind in ("wrong sign", "wrong scale") else 0.5
    least = max(tolerance**2, enough * old.misfit**2)
    return len(gain) > 1 and gain.mean() > max(least, 5 * gain.std() / math.sqrt(len(gain)))


def _scaled(data, secants, terms, tolerance, wider) -> Iterator[list]:
    """dy times factors: one for all, one for each output, for each input, for each entry."""
    target = wider.rise / wider.scale
    parts = promised_terms(data, wider) / wider.scale[..., None]
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
            fit = robust_fit(features[:, :, k], beside[:, :, k], target[:, :, k], 1.0)
            c[k, inputs], error[k, inputs] = fit
        # What is left unexplained could have made a small deviation from 1.
        left = suppose(secants, [], (terms * c).sum(-1)).misfit
        margin = np.maximum(5 * error, max(tolerance, 4 * left))
        for sign in (1.0, -1.0):
            away = np.maximum(c * sign, 1 / np.maximum(c * sign, 1e-30)) - 1
            c = np.where(away < margin, sign, c)
        sound = np.isfinite(c).all() and (c != 1).any()
        yield [suppose(secants, _name_factors(data, c), (terms * c).sum(-1))] if sound else []


def robust_fit(features, beside, target, prior):
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
            value = float(row[todo[0]])
            same = [d for d in todo if abs(row[d] - value) <= 0.02 * abs(value)]
            todo = [d for d in todo if d not in same]
            where = (component_names(data.shape_out, ks), component_names(data.shape_in, same))
            if abs(value) < 1e-6:
                text = "y does not change along it, while dy says so"
                findings.append(Finding("disagree", math.inf, text, *where))
                continue
            if value < 0:
                text = "dy points against the rise of y: turn it round"
                findings.append(Finding("wrong sign", 1 / value, text, *where))
            if abs(value) != 1:
                size = 1 / abs(value)
                hint = _hint(data, size, same)
                text = f"dy is {size:.4g} times the slope of y{hint}: divide dy by that"
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


def component_names(shape, indices) -> tuple:
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
        rise = promised_terms(data, secants, rows=rows).sum(-1)
        yield suppose(secants, [Finding("shuffled rows", offset, text)], rise)
    entries = np.arange(data.dy[0].size).reshape(data.dy.shape[1:])
    for text, order in _orders(data, secants, entries):
        if moved := int((order != entries).sum()):
            rise = promised_terms(data, secants, order=order).sum(-1)
            yield suppose(secants, [Finding("swapped axes", moved, text)], rise)


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
        rise = promised_terms(data, secants).sum(-1)[..., None, :]
        part = secants._replace(rise=secants.rise[..., None], scale=secants.scale[..., None])
        order = _pair(-mean_of(robust_loss(part, rise), (0, 1)).T)
        yield f"the outputs of dy are mixed up: {_text('dy[:, {}]', order)}", entries[order]


def _text(how, order):
    return f"pass {how.format(order.tolist())}" if len(order) < 9 else "compare their order"


def _agreement(data, secants):
    """How well each input's entry of dy agrees with the slope along each input, [D,D], by moments.

    A rise times its step over the step's squared length is the slope on average, so this is
    2 E dy_d slope_e - E dy_d²: their squared distance, turned round, up to a constant.
    """
    length = np.linalg.norm(secants.step, axis=-1)[..., None]
    weight = 1 / mean_of(secants.scale / length, 1)[:, None, :, None]
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
    left = (wider.rise - promised_terms(data, wider).sum(-1)) / wider.scale
    square = (wider.step**2).mean(-1)[..., None, None]
    shift, error = robust_fit(features, features * square, left, 0.0)
    if np.isfinite(shift).all() and np.abs(shift).max() > max(1e-2, 5 * np.max(error)):
        yield suppose(secants, [other_points(data, shift)], rise - change(secants) @ shift)


def other_points(data, shift) -> Finding:
    size = float(np.linalg.norm(shift))
    place = (
        f"at x + {np.array2string(shift * data.unit, precision=3)}" if len(shift) < 9 else "off x"
    )
    return Finding(
        "other points", size, f"dy was taken {place}, {size:.2g} standard deviations away"
    )
