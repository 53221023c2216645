"""The label check: are these the derivatives of these values?

The evidence is *secants*: rises of y over steps of x, between neighboring rows or, if the function
is available, its finite differences. A hypothesis says which rises the labels imply: as they are,
times a factor, rearranged, or taken at other points. The verdict is the simplest hypothesis that
comes clearly closer to the evidence than the labels as they are. If there is none, residuals
decide; if these show nothing, the verdict is "cannot tell".

x [B,*in], y [B,*out], dy [B,*out,*in] are flattened to [B,D], [B,K], [B,K,D]. Secants have the axes
[A,N]: N steps from each of A rows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from sobolev_tf import require
from sobolev_tf.check.against_function import explain_rest, random_values, wrong_values
from sobolev_tf.check.against_neighbors import explain_residuals
from sobolev_tf.check.constant import constant_columns
from sobolev_tf.check.data import Data, read_data
from sobolev_tf.check.explain import explain
from sobolev_tf.check.hypothesis import relative_misfit
from sobolev_tf.check.judged import (
    judged_outputs,
    name_judged,
    not_judged,
    not_varied,
    without_others,
)
from sobolev_tf.check.kinks import find_kinks
from sobolev_tf.check.report import Finding, LabelCheck
from sobolev_tf.check.secants import (
    BANDS,
    CLOSE,
    EXACT,
    Secants,
    difference_secants,
    implied_rises,
    neighbor_secants,
)
from sobolev_tf.check.statistics import has_spread
from sobolev_tf.check.values import values_of
from sobolev_tf.keras_support.arrays import is_array
from sobolev_tf.keras_support.calls import called_as

__all__ = ["Finding", "LabelCheck", "check_labels"]

# Chosen by hand on the cases of tests/library/check.
_FITTED = 3  # factors and shifts are fitted to this many times the chosen neighbors
_CERTAIN = 0.5  # if a smaller share of finite differences is certain, fn is not smooth
_UNEXPLAINED = 3  # a misfit above this many times EXACT is examined again

_NO_LABELS = Finding("cannot tell", math.nan, "no row has both a value and a derivative")


@called_as("check_labels(x, y, dy)")
def check_labels(
    x: ArrayLike, y: ArrayLike, dy: ArrayLike, fn: Callable | None = None, *, seed: int = 0
) -> LabelCheck:
    """Check whether dy are the derivatives of y at x, and name what is wrong. Print the report.

    With `fn`, each component is compared with finite differences at some rows. Without it,
    neighboring rows are compared, y_j - y_i with ½ (dy_i + dy_j) (x_j - x_i), which needs points
    close to each other, and all slopes of an output: one that lacks some is reported as not
    judged. At most a few thousand rows are used.

    Kinds of findings: "wrong sign", "wrong scale", "swapped axes", "shuffled rows", "other
    points", "kinks", "noise", "wrong values" (with `fn`), "disagree" (none of these), and "cannot
    tell", which is not a fault.

    Args:
      x: points [B,*in].
      y: values [B,*out], or [B] for one output. NaN marks a missing label.
      dy: derivatives [B,*out,*in], or [B,*in] for one output. NaN marks a missing label.
      fn: the function x -> y of arrays or tensors, if available.
      seed: seed of the choice of rows.

    Returns:
      A `LabelCheck`.

    Raises:
      ValueError: shapes do not fit, x has NaN, or an entry of x, y or dy is infinite.

    Example:

    >>> x = np.random.default_rng(0).uniform(-2, 2, [500, 2])
    >>> y, dy = np.sin(x).sum(1), np.cos(x)
    >>> check_labels(x, y, dy).ok
    True
    >>> print(check_labels(x, y, dy * [1, -1], fn=lambda x: np.sin(x).sum(1)))
    labels disagree: error 0.9 (0: they agree, 1: unrelated) over finite differences at 128 rows
    - wrong sign: input 1: dy points against the rise of y: reverse its sign
    """
    if is_array(fn):
        raise ValueError(
            "check_labels: fn is a function, got an array: of derivatives, only the first are "
            "checked."
        )
    if fn is not None:
        require.function("check_labels", "fn", fn)
    require.whole_number("check_labels", "seed", seed, at_least=0)
    data = read_data(x, y, dy)
    rng = np.random.default_rng(seed)
    if fn is None:
        return _check_by_neighbors(data, rng)
    return _check_by_function(data, fn, rng)


def _check_by_neighbors(data: Data, rng: np.random.Generator) -> LabelCheck:
    secants = neighbor_secants(data, rng)
    judged = judged_outputs(data, secants)
    rest = [*not_judged(data, judged), *not_varied(data)]
    if secants is None or not judged.any():
        return LabelCheck(tuple(rest), math.nan, "no pairs of neighbors")
    few = np.where(judged, 0.0, np.nan)  # rises of outputs with a few are no evidence
    secants = secants._replace(rise=secants.rise + few)
    tried: list = []
    # Near rows, for curvature's sake; farther ones if nothing explains those, since noise may.
    for start, stop in itertools.pairwise(BANDS):
        band = secants.band(start, stop)
        if np.isfinite(band.rise).any() and (not tried or tried[-1][0] > CLOSE):
            fitted = secants.band(0, _FITTED * stop)
            explained = explain(data, band, CLOSE, fitted, curved=secants.has_few_rows())
            tried.append((relative_misfit(band, explained.rise), band, explained))
    _, band, explained = min(tried, key=lambda t: t[0])
    rises = implied_rises(data, band).sum(-1)
    error = math.sqrt(relative_misfit(band, rises))
    residual = secants.rise - implied_rises(data, secants).sum(-1)

    def unexplained(outputs):
        found = _unexplained(data, secants, residual, band, rises, outputs)
        return name_judged(data, outputs, found)

    findings = name_judged(data, judged, explained.findings) or unexplained(judged)
    if not explained.findings and judged.sum() > 1:  # a few bad outputs hide behind good ones
        varied = np.flatnonzero(judged & has_spread(data.y))
        found = [unexplained(np.arange(len(judged)) == k) for k in varied]
        if not findings or not all(found):
            findings = list(itertools.chain.from_iterable(found)) or findings
    pairs = int(np.isfinite(band.rise).any(-1).sum())
    return LabelCheck((*findings, *rest), error, f"{pairs} pairs of neighbors")


def _unexplained(
    data: Data,
    secants: Secants,
    residual: np.ndarray,
    band: Secants,
    rises: np.ndarray,
    outputs: np.ndarray,
) -> list[Finding]:
    """What residuals of some outputs show, where no hypothesis explains these."""
    _, near, rises = without_others(data, band, outputs, rises)
    error = math.sqrt(relative_misfit(near, rises))
    data, secants, residual = without_others(data, secants, outputs, residual)
    return constant_columns(data, secants, residual, CLOSE) or explain_residuals(
        data, secants, residual, error
    )


def _check_by_function(data: Data, fn: Callable, rng: np.random.Generator) -> LabelCheck:
    if not len(data.draw(1, rng)):
        return LabelCheck((_NO_LABELS,), math.nan, "no rows")
    values = values_of(fn, data)
    secants = difference_secants(data, values, rng)
    rows, terms = secants.tail, implied_rises(data, secants)
    explained = explain(data, secants, EXACT, fitted=secants)
    findings = random_values(data, values, rows)
    if not findings:
        findings += wrong_values(data, values, rows) + explained.findings
        if np.isfinite(secants.rise).sum() < _CERTAIN * np.isfinite(terms.sum(-1)).sum():
            text = "finite differences of fn vary with their step: is it smooth, and precise?"
            findings.append(Finding("cannot tell", math.nan, text))
        elif explained.misfit > _UNEXPLAINED * EXACT:
            findings += explain_rest(data, values, secants, explained)
        findings += find_kinks(data, values, rows, rng)
    error = math.sqrt(relative_misfit(secants, terms.sum(-1)))
    return LabelCheck(tuple(findings), error, f"finite differences at {len(rows)} rows")
