"""What neighbors leave unexplained: noise, kinks, bad rows, or labels of something else."""

import math

import numpy as np

from sobolev_tf.check.data import Data
from sobolev_tf.check.hypothesis import INFORMATIVE, robust_loss
from sobolev_tf.check.report import Finding
from sobolev_tf.check.secants import BANDS, CLOSE, Secants
from sobolev_tf.check.statistics import TINY, leave_one_out, mean_of, median_of, spread_of

_NEAREST = BANDS[1]

# All numbers below were chosen by hand on the cases of tests/library/check.

# Residuals grow as a power of the step: 3 for the trapezoid of a smooth function, 1 for wrong
# derivatives, 0 for noisy values. Its upper bound is compared with these.
_POWER_OF_NOISE = 1.0
_POWER_OF_WRONG = 1.7  # where labels are at least half right
_POWER_OF_VERY_WRONG = 1.35  # where they are less
_NO_RESIDUAL = 1e-9  # of a rise: keeps the logarithm of a residual finite
_STANDARD_ERRORS = 3  # above the estimate is the upper bound

# Errors of the labels: 0 where they agree, 1 where they say nothing.
_HALF_RIGHT = 0.45
_AGREES_DESPITE_CURVATURE = 0.3  # squared: among few rows, labels that agree are below
_NEARLY_USELESS = 0.8  # beyond, points may only be too far apart to tell
_USELESS = 0.9  # noise in y leaves labels better than this
_PASSES = CLOSE / 2  # the usual residual, of a rise: less is no fault
_SCATTER = 3e-3  # of the spread of y: less noise is not named

# Derivatives that are unlike slopes fitted to the values.
_BETTER = 0.5  # of the fitted slopes' own loss, by which dy has to be worse
_SIGNIFICANT = 5  # standard errors over rows
_ALIKE = 0.3  # correlation of dy and fitted slopes: noisy ones have more, shuffled ones less
_ROUGH = 0.75  # change of dy between neighbors over that between any rows: shuffled ones have 1
_SHARED = 0.7  # of a row's squared residuals is linear in the step if dy is wrong; noise has less

# Kinks and bad rows: a few pairs disagree.
_LONG = 1.5  # times the usual step: longer ones, into sparse corners, may disagree
_FAR = 0.4  # of the distance between any two rows: neighbors this far apart decide nothing
_OUTLIER = 0.1  # of a rise: a smaller residual is no outlier
_OUTLIER_TIMES = 100  # the usual residual: likewise
_FEWEST_OUTLIERS = 6  # fewer are chance
_LEAST_SHARE, _MOST_SHARE = 0.005, 0.25  # of the pairs: fewer are chance, more no exception
_LARGE = 0.2  # of a rise: where the usual outlier is smaller, curvature may cause it

# A row with an outlier is calm if its other pairs agree: beside a kink most rows are.
_CALM_QUANTILE = 0.25  # of a row's residuals
_CALM_TIMES, _CALM_LEAST = 10, 1e-4  # times the usual residual, and of a rise: calm is below
_CALM_ROWS = 0.43  # share of rows: where fewer are calm, points are too far apart

# Bad rows: all that disagree are pairs with rows that are not calm. Beside a kink few are.
_OF_BAD_ROWS = 0.9  # of the outlying pairs

# Residual over bend, the change of slope times the step: 0 to ½ across a kink, from ½ in bad rows.
_KINK_USUAL, _KINK_MOST = 0.45, 0.52  # median and 90 % quantile: kinks are below one of them
_CURVED = 0.14  # median: curved functions are below
_NO_BEND = 1e-12  # of a rise: keeps the quotient finite


def explain_residuals(
    data: Data, secants: Secants, residual: np.ndarray, error: float
) -> list[Finding]:
    """Explain the residuals that no hypothesis explains.

    Args:
      data: the labels.
      secants: the evidence.
      residual: rises of y less those that dy implies, [A,N,K].
      error: error of the labels over the chosen neighbors.
    """
    outliers = _outliers(data, secants.band(0, BANDS[2]), residual[:, : BANDS[2]])
    if outliers:
        return outliers
    power = _growth(secants, residual)
    nearest = residual[:, :_NEAREST]
    usual = median_of(np.abs(nearest) / secants.scale[:, :_NEAREST])
    scatter = math.sqrt(mean_of((nearest / spread_of(data.y)) ** 2) / 2)
    noisy = error < _USELESS and power < _POWER_OF_NOISE and scatter > _SCATTER
    if usual > _PASSES and noisy:
        text = f"values scatter by {scatter:.2g} of their spread about what dy implies"
        return [Finding("noise", scatter, text)]
    size = secants.step.shape[-1]
    count = 2 * size + _NEAREST  # neighbors that slopes can be fitted to
    part = secants.band(0, count)
    wrong = (error < _HALF_RIGHT and power < _POWER_OF_WRONG) or (
        error < _NEARLY_USELESS and power < _POWER_OF_VERY_WRONG
    )
    wrong = bool(wrong and usual > _PASSES)
    if part.step.shape[1] == count and usual > _PASSES:
        unrelated = _unrelated(data, part, residual[:, :count], error, wrong)
        if unrelated:
            return unrelated
    elif wrong and not secants.has_few_rows():
        return [_wrong(error)]
    if error**2 > (_AGREES_DESPITE_CURVATURE if secants.has_few_rows() else INFORMATIVE):
        points = f"{len(data.x)} points in {size} dimensions"
        text = f"{points} are too few or too far apart, or y is noisy: give fn"
        return [Finding("cannot tell", error, text)]
    return []


def _wrong(error: float) -> Finding:
    text = f"dy is off by about {error:.2g}: residuals grow as the step, not as its cube"
    return Finding("disagree", error, text)


def _growth(secants: Secants, residual: np.ndarray) -> float:
    """Power of the step with which residuals grow, row by row, and three standard errors more."""
    size = np.log(np.abs(residual) + _NO_RESIDUAL * secants.scale)
    length = np.log(np.linalg.norm(secants.step, axis=-1) + TINY)[..., None] + 0 * size
    size, length = (a - mean_of(a, 1)[:, None] for a in (size, length))
    weight = np.nansum(length**2) + TINY
    power = np.nansum(size * length) / weight
    error = math.sqrt(np.nansum((size - power * length) ** 2 * length**2))
    return power + _STANDARD_ERRORS * error / weight


def _unrelated(
    data: Data, part: Secants, residual: np.ndarray, error: float, wrong: bool
) -> list[Finding]:
    """Shuffled, noisy or plainly other derivatives, where values are smooth."""
    seen = np.isfinite(part.rise).any((0, 1))  # outputs of which something is known
    part = part._replace(rise=part.rise[..., seen], scale=part.scale[..., seen])
    residual = residual[..., seen]
    use = np.isfinite(part.rise).all(-1, keepdims=True)
    step, rise, r = (np.where(use, a, 0.0) for a in (part.step, part.rise, residual))
    # Slopes fitted to the values: do they predict each left out rise better than dy?
    fitted, errors = leave_one_out(step, rise)
    loss = robust_loss(part, part.rise - errors)
    loss = np.where(use, loss, np.nan)  # unused rises are zero here, and would be predicted
    gain = mean_of(robust_loss(part, part.rise - residual) - loss, (1, 2))
    gain = gain[np.isfinite(gain)]
    if not len(gain):  # no row in which all outputs are known
        return [_wrong(error)] if wrong else []
    chance = _SIGNIFICANT * gain.std() / math.sqrt(len(gain))
    better = gain.mean() > _BETTER * mean_of(loss) + chance
    better = better and mean_of(loss) <= INFORMATIVE * mean_of(robust_loss(part, 0.0))
    if not better and not wrong:
        return []
    slopes = data.slopes(part.tail)[:, seen]
    alike = _correlation(np.swapaxes(fitted, 1, 2), slopes)
    near = np.abs(data.slopes(part.head[:, :_NEAREST])[:, :, seen] - slopes[:, None])
    any_two = median_of(np.abs(slopes - np.roll(slopes, 1, 0)), 0)
    rough = median_of(median_of(near, (0, 1)) / (any_two + TINY))
    # Errors that a row shares with all its steps are linear in the step; half of noise is not.
    own = r - step @ (np.linalg.pinv(step) @ r)
    scatter = (own**2).sum(1) / (step.shape[1] - step.shape[2])
    shared = 1 - np.median(scatter / ((r**2).mean(1) + TINY))
    if alike < _ALIKE and rough > _ROUGH:
        text = "dy differs between neighbors as between any rows, y does not: in another order?"
        return [Finding("shuffled rows", math.nan, text)]
    if alike > _ALIKE and shared < _SHARED:
        text = f"derivatives scatter from row to row, by about {error:.2g}"
        return [Finding("noise", error, text)]
    return [Finding("disagree", error, f"dy is unlike slopes fitted to y (likeness {alike:.2f})")]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Robust correlation of slopes [A,K,D] about their medians: from -1 to 1."""
    a, b = (s - median_of(s, 0) for s in (a, b))
    a, b = (np.nan_to_num(s / (np.abs(s) + median_of(np.abs(s), 0) + TINY)) for s in (a, b))
    return (a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + TINY)


def _outliers(data: Data, near: Secants, residual: np.ndarray) -> list[Finding]:
    """A few pairs disagree, their neighbors do not: kinks between them, or some bad rows."""
    error = np.abs(residual) / near.scale
    length = np.linalg.norm(near.step, axis=-1)[..., None]
    usual_length, usual = median_of(length[:, :_NEAREST]), median_of(error[:, :_NEAREST], (0, 1))
    short = length <= _LONG * usual_length
    if usual_length > _FAR * math.sqrt(2 * near.step.shape[-1]):
        return []  # neighbors are as far apart as any rows
    outlier = short & (error > np.maximum(_OUTLIER, _OUTLIER_TIMES * usual))
    outlier[:, _NEAREST:] = False
    pairs = max(short[:, :_NEAREST].sum() * error.shape[-1], 1)
    share = float(outlier[:, :_NEAREST].sum() / pairs)
    few = outlier.sum() >= _FEWEST_OUTLIERS and _LEAST_SHARE < share < _MOST_SHARE
    if not few or np.median(error[outlier]) < _LARGE:
        return []
    with_outlier = outlier.any(1)
    lower = np.nanquantile(error, _CALM_QUANTILE, axis=1)
    calm = lower < _CALM_TIMES * usual + _CALM_LEAST
    if calm[with_outlier].mean() < _CALM_ROWS:
        return []  # everything is rough there: points too far apart, not a kink
    change = data.slopes(near.head) - data.slopes(near.tail)[:, None]
    bend = np.abs((change * near.step[:, :, None]).sum(-1)) + _NO_BEND * near.scale
    usual_ratio, most = np.quantile((np.abs(residual) / bend)[outlier], [0.5, 0.9])
    bad = (with_outlier & ~calm).any(-1)
    if bad.any() and _of_rows(near, outlier, near.tail[bad]) > _OF_BAD_ROWS:
        text = f"{share:.1%} of the pairs disagree, all beside the rows {near.tail[bad][:3]}"
        return [Finding("disagree", share, text)]
    if usual_ratio < _KINK_USUAL or most < _KINK_MOST:
        text = f"the slope jumps inside {share:.1%} of the pairs; elsewhere labels agree"
        return [Finding("kinks", share, text)] if usual_ratio > _CURVED else []
    rows = near.tail[with_outlier.any(-1)][:3]
    text = f"{share:.1%} of the pairs disagree, others do not: bad rows near {rows}"
    return [Finding("disagree", share, text)]


def _of_rows(near: Secants, outlier: np.ndarray, rows: np.ndarray) -> float:
    """The share of the outlying pairs [A,N,K] that begin or end in some rows."""
    ends = np.isin(near.tail, rows)[:, None] | np.isin(near.head, rows)
    return float(outlier[ends].sum() / outlier.sum())
