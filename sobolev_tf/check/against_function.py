"""What finite differences of the function leave unexplained."""

import math

import numpy as np

from sobolev_tf.check.data import Data
from sobolev_tf.check.hypothesis import Hypothesis, component_names
from sobolev_tf.check.orders import labels_of_other_rows
from sobolev_tf.check.report import Finding
from sobolev_tf.check.secants import EXACT, Secants
from sobolev_tf.check.shifts import labels_of_other_points
from sobolev_tf.check.statistics import mean_of, spread_of
from sobolev_tf.check.values import Values

# Chosen by hand on the cases of tests/library/check.
_WRONG_VALUES = 1e-3  # of the spread of y: a smaller difference to fn passes
_ROUNDING = 1e2  # times the precision of fn: the least spread that a difference is compared with
_SMALL_ERROR = 0.5  # of the spread of y: a larger difference is not called noise
_SMALL_SLOPE_ERROR = 0.7  # of the slopes: likewise
_COHERENT = 0.4  # share of errors that is common to neighbors: noise has less
_RANDOM = 1e-4  # of the spread of y: a larger change between two calls of fn is random
_LEAVES_NOTHING = 0.1  # of the old misfit: a hypothesis that leaves less is right
_BAD_ROW = 10  # times EXACT: an error that makes a row a bad one
_FEW_ROWS = 0.3  # of all rows: fewer bad ones are named as rows
_NO_ANGLE = 0.999  # keeps the error finite where labels say nothing
_ITSELF = 1e300  # a squared distance: no row is its own neighbor


def wrong_values(data: Data, values: Values, rows: np.ndarray) -> list[Finding]:
    """Compare y with fn at some rows."""
    points, labels = data.points(rows), data.y[rows].astype(np.float64)
    true = values.at(points)
    size = np.nanmax(np.abs(true), 0, initial=0.0)
    spread = np.maximum(spread_of(true), _ROUNDING * values.eps * size)
    findings = []
    errors = np.sqrt(mean_of(((labels - true) / spread) ** 2, 0)).tolist()
    for k, error in enumerate(errors):
        if error > _WRONG_VALUES:
            coherence = _coherence(points / data.unit, (labels - true)[:, [k]])
            noise = error < _SMALL_ERROR and coherence < _COHERENT
            kind, text = ("noise", "scatters about") if noise else ("wrong values", "is not")
            text = f"y {text} fn(x): they differ by {error:.2g} of its spread"
            findings.append(Finding(kind, error, text, component_names(data.shape_out, [k])))
    return findings


def random_values(data: Data, values: Values, rows: np.ndarray) -> list[Finding]:
    """Compare two calls of fn at the same points."""
    first, again = values.at(data.points(rows)), values.at(data.points(rows))
    change = float(np.nanmax(np.abs(again - first) / spread_of(first), initial=0.0))
    text = "fn gives other values when called again: make it the same each time"
    return [Finding("noise", change, text)] if change > _RANDOM else []


def explain_rest(
    data: Data, values: Values, secants: Secants, explained: Hypothesis
) -> list[Finding]:
    """Explain what hypotheses left: other points, other rows, bad rows, noise, or nothing known."""
    if not explained.findings:
        for hypotheses in (
            labels_of_other_points(data, values, secants, explained),
            labels_of_other_rows(data, secants, explained),
        ):
            for hypothesis in hypotheses:
                if hypothesis.misfit < max(EXACT, _LEAVES_NOTHING * explained.misfit):
                    return hypothesis.findings
    left = ((secants.rise - explained.rise) / secants.scale).reshape(len(secants.tail), -1)
    size = explained.misfit / math.sqrt(1 - min(explained.misfit, _NO_ANGLE) ** 2)
    bad = (np.abs(left) > _BAD_ROW * EXACT).any(1)
    if 0 < bad.mean() < _FEW_ROWS:
        text = f"{bad.mean():.0%} of the rows disagree, such as row {secants.tail[bad.argmax()]}"
        return [Finding("disagree", float(bad.mean()), text)]
    coherence = _coherence(data.points(secants.tail) / data.unit, left)
    if size < _SMALL_SLOPE_ERROR and coherence < _COHERENT:
        return [Finding("noise", size, f"derivatives scatter about the true ones, by {size:.2g}")]
    return [Finding("disagree", size, f"dy is not the derivative of fn, by {size:.2g} of it")]


def _coherence(points: np.ndarray, errors: np.ndarray) -> float:
    """How much of errors [A,M] is their mean, or shared by nearest neighbors: 0 for noise."""
    distance = ((points[:, None] - points) ** 2).sum(-1) + _ITSELF * np.eye(len(points))
    errors = np.nan_to_num(errors)
    shared = np.abs((errors * errors[distance.argmin(1)]).sum())
    steady = 2 * len(errors) * (errors.mean(0) ** 2).sum()
    return float(max(shared, steady) / ((errors**2).sum() + 1 / _ITSELF))
