"""Hypotheses that dy was taken at other points, x + δ."""

from collections.abc import Iterator

import numpy as np

from sobolev_tf.check.data import Data
from sobolev_tf.check.hypothesis import Hypothesis, judge, robust_fit
from sobolev_tf.check.report import Finding
from sobolev_tf.check.secants import Secants, implied_rises
from sobolev_tf.check.values import Values, slopes_of

# Chosen by hand on the cases of tests/library/check.
_SHIFT = 1e-2  # standard deviations: smaller shifts are not named
_SIGNIFICANT = 5  # standard errors of a shift: a smaller one is chance

_INPUTS = 16  # of more, Newton's method is too dear: 8 D² evaluations a row
_ROWS, _EQUATIONS = 16, 20  # for Newton's method: the least rows, and equations for each input
_STEPS = 6  # of Newton's method, each at most half a standard deviation long
_WIDTH = 1e-2  # standard deviations, of the differences that Newton's method takes
_SHOWN = 8  # entries of a shift that are printed


def shifted_labels(
    data: Data, secants: Secants, rise: np.ndarray, fitted: Secants
) -> Iterator[Hypothesis]:
    """Suppose a shift by what neighbors say.

    To first order, implied rises are then too large by δ (dy_head - dy_tail).

    Args:
      data: the labels.
      secants: the evidence.
      rise: the rises that dy implies as it is, [A,N,K].
      fitted: the secants that the shift is fitted to.

    Yields:
      At most one hypothesis; none if there are few rows for their dimensions.
    """
    if secants.has_few_rows():
        return

    def change(part):
        return data.slopes(part.head) - data.slopes(part.tail)[:, None]

    features = -change(fitted) / fitted.scale[..., None]
    left = (fitted.rise - implied_rises(data, fitted).sum(-1)) / fitted.scale
    square = (fitted.step**2).mean(-1)[..., None, None]
    shift, error = robust_fit(features, features * square, left, 0.0)
    least = max(_SHIFT, _SIGNIFICANT * np.max(error))
    if np.isfinite(shift).all() and np.abs(shift).max() > least:
        yield judge(secants, [_name_shift(data, shift)], rise - change(secants) @ shift)


def labels_of_other_points(
    data: Data, values: Values, secants: Secants, explained: Hypothesis
) -> Iterator[Hypothesis]:
    """Suppose the shift of all points that makes the slopes of fn those of dy.

    It is found by Newton's method.
    """
    size = data.x.shape[1]
    if size > _INPUTS:
        return
    probes, shift = np.arange(size), np.zeros(size)
    rows = secants.tail[: max(_ROWS, _EQUATIONS * size // data.dy[0].size + 1)]
    target = np.swapaxes(data.slopes(rows), 1, 2)
    for _ in range(_STEPS):
        slopes = [
            slopes_of(data, values, data.points(rows) + (shift + move) * data.unit, probes)[0]
            for move in (0.0, *(_WIDTH * np.eye(size)))
        ]
        change = np.stack(slopes[1:], -1) - slopes[0][..., None]
        change = change / _WIDTH / secants.scale[..., None]
        step, _ = robust_fit(change, 0 * change, (target - slopes[0]) / secants.scale, 0.0)
        if not np.isfinite(step).all():
            return
        shift = shift + step / max(1.0, 2 * np.linalg.norm(step))
    there = slopes_of(data, values, data.points(secants.tail) + shift * data.unit, probes)[0]
    # What dy says of fn there, carried over to x.
    yield judge(secants, [_name_shift(data, shift)], secants.rise - there + explained.rise)


def _name_shift(data: Data, shift: np.ndarray) -> Finding:
    size = float(np.linalg.norm(shift))
    place = "off x"
    if len(shift) <= _SHOWN:
        place = f"at x + {np.array2string(shift * data.unit, precision=3)}"
    text = f"dy was taken {place}, {size:.2g} standard deviations away"
    return Finding("other points", size, text)
