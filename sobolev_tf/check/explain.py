"""The choice among hypotheses: factors, another order, other points, or the labels as they are."""

import numpy as np

from sobolev_tf.check.data import Data
from sobolev_tf.check.factors import scaled_labels
from sobolev_tf.check.hypothesis import (
    INFORMATIVE,
    Hypothesis,
    judge,
    relative_misfit,
    robust_loss,
)
from sobolev_tf.check.orders import rearranged_labels
from sobolev_tf.check.secants import Secants, implied_rises
from sobolev_tf.check.shifts import shifted_labels
from sobolev_tf.check.statistics import exceeds, mean_of

# Chosen by hand on the cases of tests/library/check.
_NOTHING_WRONG = 1e-3  # of the tolerance: with a smaller misfit no hypothesis is tried
_AS_GOOD = 1.2  # times the least misfit: of hypotheses within it the simplest one is taken
_LEAVES_NOTHING = 0.1  # of the old misfit: a hypothesis that leaves less is right
# Among few rows, curvature imitates a factor, but leaves more of squared misfits than these.
_LEFT_BY_CURVATURE = 0.15  # of that of zero labels
_SHARE_LEFT = 0.25  # of the old one
_GAIN_OF_FACTORS = 0.1  # of the old squared misfit, that signs and scales have to gain
_GAIN = 0.5  # the same for all others, which can fit more of noise


def explain(
    data: Data, secants: Secants, tolerance: float, fitted: Secants, curved: bool = False
) -> Hypothesis:
    """Choose the simplest hypothesis about as good as the best, if clearly better than none.

    Args:
      data: the labels.
      secants: the evidence.
      tolerance: a relative error that passes.
      fitted: the secants that factors and shifts are fitted to.
      curved: whether rises may differ from slopes by curvature alone: a factor then is none unless
        it explains nearly all.

    Returns:
      The hypothesis; the labels as they are have no findings.
    """
    terms = implied_rises(data, secants)
    plain = judge(secants, [], terms.sum(-1))
    if plain.misfit < _NOTHING_WRONG * tolerance or not np.isfinite(secants.rise).any():
        return plain
    one, by_output, by_input, by_entry = scaled_labels(data, secants, terms, tolerance, fitted)
    rearranged = rearranged_labels(data, secants)
    shifted = shifted_labels(data, secants, plain.rise, fitted)
    # From the simplest to the most complex.
    contenders = [*one, *by_output, *rearranged, *by_input, *shifted, *by_entry]
    least = min([hypothesis.misfit for hypothesis in contenders], default=1.0)
    for hypothesis in contenders:
        if hypothesis.misfit**2 <= _AS_GOOD * least**2 + tolerance**2:
            most = INFORMATIVE
            if curved:
                old = relative_misfit(secants, plain.rise)
                most = min(_LEFT_BY_CURVATURE, float(_SHARE_LEFT * old))
            fits = relative_misfit(secants, hypothesis.rise) < most
            clear = fits and _is_clearly_better(secants, hypothesis, plain, tolerance)
            return hypothesis if clear else plain
    return plain


def _is_clearly_better(
    secants: Secants, new: Hypothesis, old: Hypothesis, tolerance: float
) -> bool:
    """Whether new leaves almost nothing, or much less than old, far beyond chance of rows."""
    if new.misfit < _LEAVES_NOTHING * old.misfit:
        return old.misfit > tolerance
    gain = mean_of(robust_loss(secants, old.rise) - robust_loss(secants, new.rise), (1, 2))
    factors = new.findings[0].kind in ("wrong sign", "wrong scale")
    share = _GAIN_OF_FACTORS if factors else _GAIN
    return exceeds(gain, max(tolerance**2, share * old.misfit**2))
