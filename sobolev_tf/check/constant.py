"""Columns of dy that hold one number, such as zeros that were never filled, where y has slopes."""

import numpy as np

from sobolev_tf.check.data import Data
from sobolev_tf.check.hypothesis import component_names, robust_loss
from sobolev_tf.check.report import Finding
from sobolev_tf.check.secants import Secants
from sobolev_tf.check.statistics import exceeds, leave_one_out, mean_of

# Chosen by hand on the cases of tests/library/check.
_GAIN = 0.15  # of the old squared misfit, that a slope of each row's own has to gain


def constant_columns(
    data: Data, secants: Secants, residual: np.ndarray, tolerance: float
) -> list[Finding]:
    """Name the columns of dy that are constant, while a slope along them explains the residuals.

    The slope is fitted to the residuals at each row, and has to predict those that were left out.

    Args:
      data: the labels.
      secants: the evidence.
      residual: rises of y less those that dy implies, [A,N,K].
      tolerance: a relative error that passes.
    """
    known = np.isfinite(data.dy)
    low, high = (np.where(known, data.dy, side) for side in (np.inf, -np.inf))
    constant = low.min(0, initial=np.inf) == high.max(0, initial=-np.inf)
    old = robust_loss(secants, secants.rise - residual)
    findings = []
    for k, d in np.argwhere(constant):
        seen = np.isfinite(residual[..., [k]])
        step, rest = (np.where(seen, a, 0.0) for a in (secants.step[..., [d]], residual[..., [k]]))
        _, errors = leave_one_out(step, rest)
        left = residual.copy()
        left[..., [k]] = np.where(seen, errors, np.nan)
        new = robust_loss(secants, secants.rise - left)
        gain = mean_of(old[..., k] - new[..., k], 1)
        if exceeds(gain, max(tolerance**2, _GAIN * float(mean_of(old[..., k])))):
            text = f"dy is {low[:, k, d].min():.4g} in all rows, y has other slopes: left out?"
            where = (component_names(data.shape_out, [k]), component_names(data.shape_in, [d]))
            findings.append(Finding("disagree", float(mean_of(gain)), text, *where))
    return findings
