"""The evidence of a kernel net's prior: the length scales and noise that make labels most probable.

They are found by BFGS on the negative logarithm of the evidence (Rasmussen and Williams, 2006,
chapter 5).
"""

import numpy as np

from sobolev_tf.keras_support.progress import progress_bar
from sobolev_tf.solvers import bfgs
from sobolev_tf.solvers.gaussian_process import GaussianProcess, Labels, Prior

_LONGEST = 1000.0  # length scale; it would grow forever for inputs that the trend explains
_ITERATIONS = 100
_TOLERANCE = 1e-3  # of the log evidence
_SEARCHED_LABELS = 900  # used by a search, whose result is then refined on all
_POLISHED_LABELS = 2500
_POLISH = 8  # iterations
_LOG_ALPHA, _LOG_NOISE, _LOG_MUCH_NOISE = 1.0, -7.0, -2.0  # where searches start
_TRIED = 12  # iterations from each start, before the best one continues
_LABELS_OF_TREND = 3  # over its coefficients, at least, for a linear trend
_SPREADS = {"lengths": 3.0, "alpha": 2.0, "noise": 4.0}  # of the broad priors of the logarithms


def most_probable(
    labels: Labels,
    seed: int,
    start: Prior | None = None,
    slope_share: float = 1.0,
    verbose: str | int = 0,
) -> Prior:
    """Search for the prior under which the labels are most probable.

    With fewer than three labels a coefficient the trend is a constant: a linear one could take most
    of them, and σ² would be much too small. Searches start from the length scales that the sizes of
    slopes suggest, from larger ones, and from a noisy prior. If there are many labels, they use a
    part, and the best result is refined on more.

    Args:
      labels: the `Labels`.
      seed: seed of the choice of that part.
      start: where the search starts instead.
      slope_share: τ of log p(values | slopes) + τ log p(slopes), which is maximized together with
        the logarithm of a broad prior; with 1 it is the evidence of all labels.
      verbose: 1 shows a line of progress with the time left at most, 0 shows none.
    """
    count, order = _count(labels), np.random.default_rng(seed).permutation(len(labels.points))
    part = _first(labels, order, _SEARCHED_LABELS)
    starts = list(_starts(part)) if start is None else []
    steps = len(starts) * _TRIED + _ITERATIONS + (_POLISH if _count(part) < count else 0)
    bar = progress_bar(steps, verbose)
    linear = count >= _LABELS_OF_TREND * (1 + labels.points.shape[1])

    def search(some, logs, iterations):
        return _search(some, logs, iterations, slope_share, linear, lambda: bar.add(1))

    if start is None:
        tried = [search(part, logs, _TRIED) for logs in starts]
        best = min(tried, key=lambda found: found[1])[0]
    else:
        best = start.logs()
    best, _ = search(part, best, _ITERATIONS)
    if _count(part) < count:
        best, _ = search(_first(labels, order, _POLISHED_LABELS), best, _POLISH)
    bar.update(steps, finalize=True)
    return Prior.from_logs(best, linear)


def _count(labels):
    return int(np.sum(labels.present))


def _first(labels, order, count):
    """The first points, in a given order, that have at most this many labels."""
    kept = np.cumsum(np.sum(labels.present, 1)[order]) <= count
    return labels.of_rows(order[kept]) if kept.any() else labels.of_rows(order[:1])


def _starts(labels):
    dims = labels.points.shape[1]
    deviation = np.nanstd(labels.entries[:, 0]) if labels.present[:, 0].any() else 1.0
    far = np.full(dims, np.sqrt(dims))
    with np.errstate(divide="ignore"):
        near = np.clip(max(deviation, 1e-3) / labels.sizes, 0.1, 100.0)
    first, second = (near, 3 * near) if labels.present[:, 1:].any() else (far, far / 3)
    for lengths, noise in (
        (first, _LOG_NOISE),
        (second, _LOG_NOISE),
        (first, _LOG_MUCH_NOISE),
    ):
        yield np.array([*np.log(lengths), _LOG_ALPHA, noise, noise])


def _search(labels, start, iterations, slope_share, linear, on_step):
    dims = labels.points.shape[1]
    center = np.concatenate([np.full(dims, np.log(dims) / 2), [_LOG_ALPHA, _LOG_NOISE, _LOG_NOISE]])
    spread = np.array([_SPREADS["lengths"]] * dims + [_SPREADS["alpha"]] + 2 * [_SPREADS["noise"]])

    count, rest = _count(labels), 1 - slope_share
    slopes = labels.without("value")
    rest = rest if slopes.present.any() else 0

    def function(logs):
        deviations, prior = (logs - center) / spread, Prior.from_logs(logs, linear)
        try:
            process = GaussianProcess(labels, prior)
            of_slopes = GaussianProcess(slopes, prior) if rest else None
        except np.linalg.LinAlgError:
            return np.inf, np.zeros_like(logs)
        beyond = np.zeros_like(logs)
        beyond[:dims] = np.maximum(logs[:dims] - np.log(_LONGEST), 0)
        surprise = process.surprise() + deviations @ deviations / 2 + count * beyond @ beyond
        gradient = process.surprise_gradient() + deviations / spread + 2 * count * beyond
        if of_slopes is not None:
            surprise -= rest * of_slopes.surprise()
            gradient -= rest * of_slopes.surprise_gradient()
        return surprise, gradient

    return bfgs.minimize(function, start, iterations, _TOLERANCE, on_step)
