"""Kinks of the function: where its slope jumps on lines between rows."""

import numpy as np

from sobolev_tf.check.data import Data
from sobolev_tf.check.report import Finding
from sobolev_tf.check.statistics import mean_of, spread_of
from sobolev_tf.check.values import Values

# Halving a piece of a line halves the change of a smooth slope over it; a jump stays.
_PRECISION = 0.4  # power of eps: how close to a kink values can still tell the two slopes
_HALVINGS = (6, 14)  # the least that tell a jump from a bend; the most that are needed
_COMPARED = 3  # halvings, over which a smooth slope falls to 1/8
_STAYS = 0.7  # of the change that many halvings before; more is a jump; chosen by hand
_JUMP = 0.02  # of the usual slope: a smaller jump is not named; chosen by hand
_FLAT = 1e-3  # of the spread, added to the usual slope: lines may be flat


def find_kinks(
    data: Data, values: Values, rows: np.ndarray, rng: np.random.Generator
) -> list[Finding]:
    """Search lines between rows for jumps of the slope of fn, by bisection."""
    start = data.points(rows)
    line = start[rng.permutation(len(rows))] - start
    width, length = values.eps**_PRECISION, 1.0
    least, most = _HALVINGS
    halvings = min(most, int(-np.log2(4 * width)))
    if halvings < least:
        return []  # fn is not precise enough
    mix = rng.choice([-1, 1], data.y.shape[1]) / spread_of(data.y[rows])

    def look(at):  # value and slope at this share of each line, [2,A]
        y = [values.at(start + (at + move)[:, None] * line) @ mix for move in (-width, width)]
        return np.stack([(y[0] + y[1]) / 2, (y[1] - y[0]) / 2 / width])

    def change(a, b):
        return np.abs(b[1] - a[1]) + np.abs(b[0] - a[0] - length * (a[1] + b[1]) / 2) / length

    at, changes = np.zeros(len(rows)), []
    left, right = look(at), look(at + 1)
    usual = np.sqrt(mean_of(left[1] ** 2)) + _FLAT
    for _ in range(halvings):
        length = length / 2
        middle = look(at + length)
        lower = change(left, middle) > change(middle, right)
        left, right = np.where(lower, left, middle), np.where(lower, middle, right)
        at = np.where(lower, at, at + length)
        changes.append(np.nan_to_num(change(left, right) / usual))
    jumps = (changes[-1] > _STAYS * changes[-1 - _COMPARED]) & (changes[-1] > _JUMP)
    if not jumps.any():
        return []
    place = (start + at[:, None] * line)[np.argmax(jumps * changes[-1])]
    shown = np.array2string(place, precision=3, threshold=8)
    share = float(jumps.mean())
    text = f"the slope of fn jumps on {share:.0%} of the lines between rows, as at {shown}"
    return [Finding("kinks", share, text)]
