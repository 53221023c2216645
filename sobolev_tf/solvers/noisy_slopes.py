"""The prior of a kernel net where slopes are noisy or wrong: they must not make values worse.

A function is never quite as the prior says. Of n points the evidence counts nD slopes and n values,
so that noisy slopes decide on length scales under which values are predicted worse than without
slopes. With noise, all slopes of a point count as one label, and values alone are a candidate too.
Slopes of another smooth function, such as forces in place of gradients, make values look noisy.
"""

import dataclasses

import numpy as np

from sobolev_tf.keras_support.progress import is_shown
from sobolev_tf.solvers.gaussian_process import GaussianProcess, Labels, Prior
from sobolev_tf.solvers.kernel_evidence import most_probable

_NOISY = 0.04  # deviation of the noise over the slopes' typical size, or the values' deviation
_VALUES = 3  # value labels over coefficients of the trend, for a fit to values alone
_SURE = 0.5  # standard errors by which that fit must be better at left-out values
_FAR = 0.5  # its share of the other's error, at most, where only values seem noisy: they may be


def choose_prior(labels: Labels, seed: int, verbose: str | int = 0) -> Prior:
    """Choose a prior by evidence and, if slopes are noisy, by left-out values.

    The search sees weights relative to their median, so that one factor of all changes nothing.

    Args:
      labels: the `Labels` of one output.
      seed, verbose: as for `most_probable`.

    Returns:
      The prior; with `uses_slopes=False` if values alone predict left-out values better.
    """
    if labels.weights is None:
        return _choose(labels, seed, verbose)
    typical = float(np.median(labels.weights))
    relative = dataclasses.replace(labels, weights=labels.weights / typical)
    prior, root = _choose(relative, seed, verbose), np.sqrt(typical)
    return dataclasses.replace(
        prior, value_noise=prior.value_noise * root, slope_noise=prior.slope_noise * root
    )


def _choose(labels, seed, verbose):
    def search(what, labels, **how):
        if is_shown(verbose):
            print(f"kernel net: length scales and noise, {what}")
        return most_probable(labels, seed, verbose=verbose, **how)

    prior = search("all labels", labels)
    values, slopes = labels.present[:, 0].sum(), labels.present[:, 1:].any()
    if not values or not slopes:
        return prior
    process = GaussianProcess(labels, prior)
    of_values, of_slopes = _noise(process)
    if max(of_values, of_slopes) <= _NOISY:
        return prior
    dims = labels.points.shape[1]
    if dims > 1 and of_slopes > _NOISY:
        what = "noisy slopes of a point as one label"
        prior = search(what, labels, start=prior, slope_share=1 / dims)
        process = GaussianProcess(labels, prior)
    if values < _VALUES * (1 + dims):
        return prior
    alone = search("values only", labels.without("d1"))
    without = GaussianProcess(labels.without("d1"), alone)
    if not (_is_better if of_slopes > _NOISY else _is_far_better)(without, process):
        return prior
    noise = _noise(process)[1] / np.sqrt(without.variance)
    return dataclasses.replace(alone, slope_noise=float(noise), uses_slopes=False)


def _noise(process: GaussianProcess) -> tuple[float, float]:
    """The deviations of the noise, of values over theirs and of slopes over their typical size."""
    deviation = np.sqrt(process.variance)
    of_values, of_slopes = process.prior.value_noise, process.prior.slope_noise
    return float(of_values * deviation), float(of_slopes * deviation)


def _is_far_better(process: GaussianProcess, other: GaussianProcess) -> bool:
    """Whether a process has half of the other's error at left-out values."""
    ours, theirs = _left_out_squares(process, other)
    return bool(np.mean(ours) < _FAR**2 * np.mean(theirs))


def _is_better(process: GaussianProcess, other: GaussianProcess) -> bool:
    """Whether a process predicts left-out values better than another one, and not by chance."""
    ours, theirs = _left_out_squares(process, other)
    gains = theirs - ours
    return bool(np.mean(gains) > _SURE * np.std(gains) / np.sqrt(len(gains)))


def _left_out_squares(*processes):
    """The squared errors of processes at the left-out values that all know."""
    squares = np.array([p.left_out_errors(refit_trend=True) ** 2 for p in processes])
    if (weights := processes[0].labels.weights) is not None:  # of little weight may be far off
        squares = squares * weights
    return squares[:, ~np.isnan(squares).any(0)]
