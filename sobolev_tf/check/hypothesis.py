"""A hypothesis: which rises of y the labels imply if it is true, and how far these are off."""

import math
from typing import NamedTuple

import numpy as np

from sobolev_tf.check.secants import Secants
from sobolev_tf.check.statistics import mean_of

# Chosen by hand on the cases of tests/library/check.
INFORMATIVE = 0.6  # labels that say something leave less of the squared misfit of zero labels
_SEEN = 0.3  # of all rises: a hypothesis that speaks of fewer is not weighed
_NO_MISFIT = 1e-9  # of zero labels, where y is constant

_EQUATIONS = 20  # a coefficient of a fit needs at least
_COEFFICIENTS = 256  # are fitted at most: the fit costs their cube
_UNUSED = 1e-8  # features below are zero; the rms of others is near 1
_RIDGE = 1e-9  # of the features' squares: decides only what nothing depends on
_ROUNDS = 5  # of reweighting; it has settled then
_OUTLIER = 1.5  # times the median error: from here on equations count less
_EXACT_FIT = 1e-3  # below this error no equation is an outlier


class Hypothesis(NamedTuple):
    """Findings that would explain the labels, the rises implied then [A,N,K], and their misfit."""

    findings: list
    rise: np.ndarray
    misfit: float


def robust_loss(secants: Secants, rise: np.ndarray | float) -> np.ndarray:
    """Compute e²/(1+e²) of the relative errors e of implied rises [A,N,K].

    Outliers count little.
    """
    square = ((secants.rise - rise) / secants.scale) ** 2
    return square / (1 + square)


def judge(secants: Secants, findings: list, rise: np.ndarray) -> Hypothesis:
    """Measure the misfit of the rises [A,N,K] that findings would imply: from 0 to 1."""
    loss = robust_loss(secants, rise)
    seen = np.isfinite(loss).sum() > _SEEN * np.isfinite(secants.rise).sum()
    return Hypothesis(findings, rise, math.sqrt(mean_of(loss)) if seen else 1.0)


def relative_misfit(secants: Secants, rise: np.ndarray, axis: tuple | None = None) -> np.ndarray:
    """Compute the squared misfit as a share of that of zero labels, which say nothing.

    Args:
      secants: the evidence.
      rise: implied rises [A,N,K].
      axis: what to take means over; None for all.
    """
    misfit, zero = (mean_of(robust_loss(secants, r), axis) for r in (rise, 0.0))
    return np.nan_to_num(misfit / (zero + _NO_MISFIT))


def robust_fit(
    features: np.ndarray, beside: np.ndarray, target: np.ndarray, prior: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a target by features, by reweighted least squares.

    Args:
      features: [...,P].
      beside: [...,P], fitted along and not returned.
      target: [...].
      prior: what coefficients are that nothing depends on.

    Returns:
      Coefficients [P] and their standard errors [P]; NaN where there are too few equations.
    """
    size = features.shape[-1]
    features = np.concatenate([features, beside], -1)
    use = np.isfinite(features).all(-1) & np.isfinite(target)
    f, t = features[use], target[use]
    if len(f) < _EQUATIONS * size or size > _COEFFICIENTS:
        return np.full(size, np.nan), np.full(size, np.nan)
    rms = np.sqrt((f**2).mean(0))
    unit = np.maximum(rms, _UNUSED)
    f = np.where(rms > _UNUSED, f, 0.0) / unit
    priors, weight = unit * np.repeat([prior, 0.0], size), np.ones_like(t)
    for _ in range(_ROUNDS):
        gram = (f * weight[:, None]).T @ f + _RIDGE * np.eye(2 * size)
        c = np.linalg.solve(gram, f.T @ (weight * t) + _RIDGE * priors)
        error = t - f @ c
        weight = 1 / (1 + (error / (_OUTLIER * np.median(np.abs(error)) + _EXACT_FIT)) ** 2)
    score = (f * (weight * error)[:, None]) @ np.linalg.inv(gram)
    return (c / unit)[:size], (np.linalg.norm(score, axis=0) / unit)[:size]


def component_names(shape: tuple, indices: list) -> tuple:
    """Name entries of a flat axis as the user indexes them; () for all of them."""
    if len(indices) == math.prod(shape):
        return ()
    names = list(np.ndindex(*shape)) if len(shape) > 1 else range(shape[0])
    return tuple(names[int(i)] for i in indices)
