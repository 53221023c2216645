"""Hypotheses that dy is multiplied by factors: wrong signs, wrong scales."""

import itertools
import math
from collections.abc import Iterator

import numpy as np

from sobolev_tf.check.data import Data
from sobolev_tf.check.hypothesis import (
    INFORMATIVE,
    Hypothesis,
    component_names,
    judge,
    relative_misfit,
    robust_fit,
)
from sobolev_tf.check.report import Finding
from sobolev_tf.check.secants import Secants, implied_rises
from sobolev_tf.check.statistics import TINY

# Chosen by hand on the cases of tests/library/check.
_SIGNIFICANT = 5  # standard errors of a factor: a smaller deviation from 1 is chance
_UNEXPLAINED = 4  # times what is left: it may cause a smaller deviation from 1
_SAME_FACTOR = 0.02  # relative: factors this close are one finding, and have one cause
_NO_FACTOR = 1e-6  # a factor below is zero: y does not change along that input
_DECIMALS = 6  # outputs whose factors agree to this many decimals are one finding


def scaled_labels(
    data: Data, secants: Secants, terms: np.ndarray, tolerance: float, fitted: Secants
) -> Iterator[list[Hypothesis]]:
    """Suppose that dy is off by factors: one for all entries, or one per output, input or entry.

    Args:
      data: the labels.
      secants: the evidence.
      terms: `implied_rises` of it.
      tolerance: a relative error that passes.
      fitted: the secants that factors are fitted to.

    Yields:
      A list of at most one hypothesis for each of the four.
    """
    target = fitted.rise / fitted.scale
    parts = implied_rises(data, fitted) / fitted.scale[..., None]
    # The trapezoid's own error grows as the cube of the step: fitted beside, it makes no factor.
    cubes = parts * (fitted.step**2 * (fitted.head != fitted.tail[:, None])[..., None])[:, :, None]
    seen = np.flatnonzero((np.nan_to_num(parts) != 0).any((0, 1, 2)))
    summed = parts.sum(-1, keepdims=True), cubes.sum(-1, keepdims=True), slice(None)
    single = parts[..., seen], cubes[..., seen], seen
    all_outputs: list = [slice(None)]
    by_output: list = [[k] for k in range(target.shape[-1])]
    for (features, beside, inputs), outputs in itertools.product(
        (summed, single), (all_outputs, by_output)
    ):
        if outputs is by_output and len(by_output) == 1:
            yield []  # the same as all_outputs
            continue
        c, error = np.ones(terms.shape[2:]), np.zeros(terms.shape[2:])
        for k in outputs:
            c[k, inputs], error[k, inputs] = robust_fit(
                features[:, :, k], beside[:, :, k], target[:, :, k], 1.0
            )
        c = np.where(np.isfinite(c), c, 1.0)  # too few labels for a factor: taken as right
        if outputs is by_output:  # other outputs do not excuse a factor that explains nothing
            c[relative_misfit(secants, (terms * c).sum(-1), (0, 1)) >= INFORMATIVE] = 1.0
        # What is left unexplained could have made a small deviation from 1.
        left = judge(secants, [], (terms * c).sum(-1)).misfit
        margin = np.maximum(_SIGNIFICANT * error, max(tolerance, _UNEXPLAINED * left))
        for sign in (1.0, -1.0):
            away = np.maximum(c * sign, 1 / np.maximum(c * sign, TINY)) - 1
            c = np.where(away < margin, sign, c)
        wrong = (c != 1).any()
        yield [judge(secants, _name_factors(data, c), (terms * c).sum(-1))] if wrong else []


def _name_factors(data: Data, c: np.ndarray) -> list[Finding]:
    """Findings for the factors c [K,D] that correct dy, alike components together."""
    findings: list[Finding] = []
    outputs: dict[tuple, list] = {}
    for k, row in enumerate(c):
        outputs.setdefault(tuple(np.round(row, _DECIMALS)), []).append(k)
    for row, ks in outputs.items():
        todo = [d for d in range(len(row)) if row[d] != 1]
        while todo:
            value = float(row[todo[0]])
            same = [d for d in todo if abs(row[d] - value) <= _SAME_FACTOR * abs(value)]
            todo = [d for d in todo if d not in same]
            where = (component_names(data.shape_out, ks), component_names(data.shape_in, same))
            if abs(value) < _NO_FACTOR:
                text = "y does not change along it, while dy says so"
                findings.append(Finding("disagree", math.inf, text, *where))
                continue
            if value < 0:
                text = "dy points against the rise of y: reverse its sign"
                findings.append(Finding("wrong sign", 1 / value, text, *where))
            if abs(value) != 1:
                size = 1 / abs(value)
                hint = _hint(data, size, same)
                text = f"dy is {size:.4g} times the slope of y{hint}: divide dy by that"
                findings.append(Finding("wrong scale", size, text, *where))
    return findings


def _hint(data: Data, factor: float, inputs: list) -> str:
    """Where a factor may come from, if it is a known one."""
    unit = np.median(data.unit[inputs])
    known = {
        "π/180: degrees or radians?": math.pi / 180,
        "180/π: degrees or radians?": 180 / math.pi,
        "the standard deviation of the input: scaled x?": unit,
        "1 / the standard deviation of the input: scaled x?": 1 / unit,
    }
    for text, value in known.items():
        if abs(factor / value - 1) < _SAME_FACTOR:
            return f" ({text})"
    return ""
