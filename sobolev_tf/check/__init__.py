"""The label check: are these the derivatives of these values?

Evidence, hypotheses, verdict. The evidence is *secants*: rises of y over steps of x, between
neighbouring rows or, where the function is at hand, its finite differences. A hypothesis says
which rises the labels promise: as they are, times a factor, rearranged, or taken at other points.
The verdict is the simplest one that comes clearly closer to the evidence than the labels as they
are; where none does, the residuals are looked at; where they say nothing, it is "cannot tell".

Shapes: x [B,*in], y [B,*out], dy [B,*out,*in] are flat inside: [B,D], [B,K], [B,K,D]. Secants
have the axes [A,N]: N steps from each of A rows.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np

from sobolev_tf.check.against_function import find_kinks, random_values, unexplained, wrong_values
from sobolev_tf.check.against_neighbours import suspicions
from sobolev_tf.check.hypotheses import explain, share_of
from sobolev_tf.check.report import Finding, LabelCheck
from sobolev_tf.check.secants import (
    BANDS,
    CLOSE,
    EXACT,
    difference_secants,
    neighbour_secants,
    promised_terms,
    read_data,
    values_of,
)


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
    labels disagree: error 0.9 (1: dy says nothing of y) over finite differences at 128 rows
    - wrong sign: input 1: dy points against the rise of y: turn it round
    """
    data = read_data(x, y, dy)
    rng = np.random.default_rng(seed)
    if fn is None:
        return _check_by_neighbours(data, rng)
    return _check_by_function(data, fn, rng)


_NONE = Finding("cannot tell", 1.0, "too few rows have both a value and a derivative")


def _check_by_neighbours(data, rng) -> LabelCheck:
    secants = neighbour_secants(data, rng)
    if secants is None or np.isfinite(secants.rise).sum() < 8:
        return LabelCheck((_NONE,), 1.0, "no pairs of neighbours")
    tried = []
    # As near as possible, against curvature; further where nothing explains that: noise.
    for start, stop in itertools.pairwise(BANDS):
        band = secants.band(start, stop)
        if band.step.shape[1] and (not tried or tried[-1][0] > CLOSE):
            found = explain(data, band, CLOSE, wider=secants.band(0, 3 * stop))
            tried.append((share_of(band, found.rise), band, found))
    _, band, found = min(tried, key=lambda t: t[0])
    error = math.sqrt(share_of(band, promised_terms(data, band).sum(-1)))
    residual = secants.rise - promised_terms(data, secants).sum(-1)
    findings = found.findings or suspicions(data, secants, residual, error)
    return LabelCheck(tuple(findings), error, f"{band.rise[..., 0].size} pairs of neighbours")


def _check_by_function(data, fn, rng) -> LabelCheck:
    if not len(data.draw(1, rng)):
        return LabelCheck((_NONE,), 1.0, "no rows")
    values = values_of(fn, data)
    secants = difference_secants(data, values, rng)
    rows, terms = secants.tail, promised_terms(data, secants)
    found = explain(data, secants, EXACT, wider=secants)
    findings = random_values(data, values, rows)
    if not findings:
        findings += wrong_values(data, values, rows) + found.findings
        if np.isfinite(secants.rise).sum() < 0.5 * np.isfinite(terms.sum(-1)).sum():
            text = "finite differences of fn vary with their step: is it smooth, and precise?"
            findings.append(Finding("cannot tell", math.nan, text))
        elif found.misfit > 3 * EXACT:
            findings += unexplained(data, values, secants, found)
        findings += find_kinks(data, values, rows, rng)
    error = math.sqrt(share_of(secants, terms.sum(-1)))
    return LabelCheck(tuple(findings), error, f"finite differences at {len(rows)} rows")


__all__ = ["Finding", "LabelCheck", "check_labels"]
