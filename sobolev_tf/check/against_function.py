"""What finite differences of the function leave unexplained."""

import math
from collections.abc import Iterator

import numpy as np

from sobolev_tf.check.hypotheses import (
    Hypothesis,
    component_names,
    other_points,
    robust_fit,
    suppose,
)
from sobolev_tf.check.report import Finding
from sobolev_tf.check.secants import EXACT, mean_of, promised_terms, slopes_of, spread_of


def wrong_values(data, values, rows) -> list:
    """What is wrong with y, where fn is at hand."""
    points, given = data.points(rows), data.y[rows].astype(np.float64)
    true = values.at(points)
    spread = np.maximum(spread_of(true), 1e2 * values.eps * np.nanmax(np.abs(true), 0, initial=0.0))
    findings = []
    for k, size in enumerate(np.sqrt(mean_of(((given - true) / spread) ** 2, 0)).tolist()):
        if size > 1e-3:
            noise = size < 0.5 and _coherence(points / data.unit, (given - true)[:, [k]]) < 0.4
            kind, text = ("noise", "scatters about") if noise else ("wrong values", "is not")
            text = f"y {text} fn(x): they differ by {size:.2g} of its spread"
            findings.append(Finding(kind, size, text, component_names(data.shape_out, [k])))
    return findings


def random_values(data, values, rows) -> list:
    first, again = values.at(data.points(rows)), values.at(data.points(rows))
    change = float(np.nanmax(np.abs(again - first) / spread_of(first), initial=0.0))
    text = "fn gives other values when asked again: make it the same each time"
    return [Finding("noise", change, text)] if change > 1e-4 else []


def _coherence(points, errors) -> float:
    """How much of errors [A,M] is their mean, or shared by nearest neighbours: 0 for noise."""
    distance = ((points[:, None] - points) ** 2).sum(-1) + 1e300 * np.eye(len(points))
    errors = np.nan_to_num(errors)
    shared = np.abs((errors * errors[distance.argmin(1)]).sum())
    steady = 2 * len(errors) * (errors.mean(0) ** 2).sum()
    return float(max(shared, steady) / ((errors**2).sum() + 1e-300))


def unexplained(data, values, secants, found) -> list:
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
            slopes_of(data, values, data.points(rows) + (shift + move) * data.unit, probes)[0]
            for move in (0.0, *(width * np.eye(size)))
        ]
        change = np.stack(slopes[1:], -1) - slopes[0][..., None]
        change = change / width / secants.scale[..., None]
        step, _ = robust_fit(change, 0 * change, (wanted - slopes[0]) / secants.scale, 0.0)
        if not np.isfinite(step).all():
            return
        shift = shift + step / max(1.0, 2 * np.linalg.norm(step))
    there = slopes_of(data, values, data.points(secants.tail) + shift * data.unit, probes)[0]
    # What dy says of fn there, carried over to x.
    yield suppose(secants, [other_points(data, shift)], secants.rise - there + found.rise)


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
    rise = promised_terms(data, secants, rows=rows).sum(-1)
    if offset and (offsets == offset).mean() > 0.8:
        text = f"the label of row i is in row i+{offset}: np.roll(dy, {-offset}, axis=0)"
        yield suppose(secants, [Finding("shuffled rows", offset, text)], rise)
    elif found.misfit > 0.5:
        # Among many rows some fit noisy derivatives too: but then the right ones are not far off.
        text = "each label is found in some other row: dy is in another order than x"
        yield suppose(secants, [Finding("shuffled rows", math.nan, text)], rise)


def find_kinks(data, values, rows, rng) -> list:
    """Where the slope of fn jumps on lines between rows, found by bisection.

    Halving a piece of the line halves the change of a smooth slope over it; a jump stays.
    """
    start = data.points(rows)
    line = start[rng.permutation(len(rows))] - start
    width, length = values.eps**0.4, 1.0
    halvings = min(14, int(-np.log2(4 * width)))
    if halvings < 6:
        return []  # fn is not precise enough
    mix = rng.choice([-1, 1], data.y.shape[1]) / spread_of(data.y[rows])

    def look(at):  # value and slope at this share of each line, [2,A]
        y = [values.at(start + (at + move)[:, None] * line) @ mix for move in (-width, width)]
        return np.stack([(y[0] + y[1]) / 2, (y[1] - y[0]) / 2 / width])

    def change(a, b):
        return np.abs(b[1] - a[1]) + np.abs(b[0] - a[0] - length * (a[1] + b[1]) / 2) / length

    at, changes = np.zeros(len(rows)), []
    left, right = look(at), look(at + 1)
    usual = np.sqrt(mean_of(left[1] ** 2)) + 1e-3
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
