"""What neighbours leave unexplained: noise, kinks, bad rows, or labels of something else."""

import math

import numpy as np

from sobolev_tf.check.hypotheses import TELLING, robust_loss
from sobolev_tf.check.report import Finding
from sobolev_tf.check.secants import BANDS, CLOSE, mean_of, median_of, spread_of


def suspicions(data, secants, residual, error) -> list:
    """What the residuals [A,N,K] say where no hypothesis explains them."""
    outliers = _outliers(data, secants.band(0, BANDS[2]), residual[:, : BANDS[2]])
    if outliers:
        return outliers
    power = _growth(secants, residual)
    usual = median_of(np.abs(residual[:, :4]) / secants.scale[:, :4])
    scatter = math.sqrt(mean_of((residual[:, :4] / spread_of(data.y)) ** 2) / 2)
    if usual > CLOSE / 2 and error < 0.9 and power < 1.0 and scatter > 3e-3:
        text = f"values scatter by {scatter:.2g} of their spread about what dy promises"
        return [Finding("noise", scatter, text)]
    size = secants.step.shape[-1]
    part = secants.band(0, 2 * size + 4)
    wrong = usual > CLOSE / 2 and ((error < 0.45 and power < 1.7) or (error < 0.8 and power < 1.35))
    if part.step.shape[1] == 2 * size + 4 and usual > CLOSE / 2:
        unrelated = _unrelated(data, part, residual[:, : 2 * size + 4], error, wrong)
        if unrelated:
            return unrelated
    elif wrong:
        text = f"dy is off by about {error:.2g}: residuals grow as the step, not as its cube"
        return [Finding("disagree", error, text)]
    if error**2 > TELLING:
        text = f"{len(data.x)} points in {size} dimensions are too few or too far apart: give fn"
        return [Finding("cannot tell", error, text)]
    return []


def _growth(secants, residual):
    """Power of the step with which residuals grow, row by row, and three standard errors more.

    3 for the trapezoid of a smooth function, 1 for wrong derivatives, 0 for noisy values.
    """
    size = np.log(np.abs(residual) + 1e-9 * secants.scale)
    length = np.log(np.linalg.norm(secants.step, axis=-1) + 1e-30)[..., None] + 0 * size
    size, length = (a - mean_of(a, 1)[:, None] for a in (size, length))
    weight = np.nansum(length**2) + 1e-30
    power = np.nansum(size * length) / weight
    return power + 3 * math.sqrt(np.nansum((size - power * length) ** 2 * length**2)) / weight


def _unrelated(data, part, residual, error, wrong) -> list:
    """Shuffled, noisy or plainly other derivatives, where values are smooth."""
    use = np.isfinite(part.rise).all(-1, keepdims=True)
    step, rise, r = (np.where(use, a, 0.0) for a in (part.step, part.rise, residual))
    fit = np.linalg.pinv(step)
    # Slopes fitted to values alone: do they foretell each left out rise better than dy?
    left = np.maximum(1 - np.einsum("and,adn->an", step, fit), 1e-3)[..., None]
    own = robust_loss(part, part.rise - (rise - step @ (fit @ rise)) / left)
    gain = mean_of(robust_loss(part, part.rise - residual) - own, (1, 2))
    gain = gain[np.isfinite(gain)]
    better = gain.mean() > 0.5 * mean_of(own) + 5 * gain.std() / math.sqrt(len(gain))
    better = better and mean_of(own) <= TELLING * mean_of(robust_loss(part, 0.0))
    if not better and not wrong:
        return []
    given, own = data.slopes(part.tail), np.swapaxes(fit @ rise, 1, 2)
    both = [a - median_of(a, 0) for a in (own, given)]
    a, b = (np.nan_to_num(a / (np.abs(a) + median_of(np.abs(a), 0) + 1e-30)) for a in both)
    like = (a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-30)
    near = np.abs(data.slopes(part.head[:, :4]) - given[:, None])
    rough = median_of(
        median_of(near, (0, 1)) / (median_of(np.abs(given - np.roll(given, 1, 0)), 0) + 1e-30)
    )
    # Errors that a row shares with all its steps are linear in the step; half of noise is not.
    scatter = ((r - step @ (fit @ r)) ** 2).sum(1) / (step.shape[1] - step.shape[2])
    shared = 1 - np.median(scatter / ((r**2).mean(1) + 1e-30))
    if like < 0.3 and rough > 0.75:
        text = "dy differs between neighbours as between any rows, y does not: in another order?"
        return [Finding("shuffled rows", math.nan, text)]
    if like > 0.3 and shared < 0.7:
        text = f"derivatives scatter from row to row, by about {error:.2g}"
        return [Finding("noise", error, text)]
    return [Finding("disagree", error, f"dy is unlike slopes fitted to y (likeness {like:.2f})")]


def _outliers(data, near, residual) -> list:
    """A few pairs disagree, their neighbours do not: kinks between them, or some bad rows."""
    error = np.abs(residual) / near.scale
    length = np.linalg.norm(near.step, axis=-1)[..., None]
    # Long steps, into sparse corners, have a right to disagree.
    short = length <= 1.5 * median_of(length[:, :4])
    usual = median_of(error[:, :4])
    if median_of(length[:, :4]) > 0.4 * math.sqrt(2 * near.step.shape[-1]):
        return []  # neighbours are as far apart as any rows
    found = short & (error > max(0.1, 100 * usual))
    found[:, 4:] = False
    share = float(found[:, :4].sum() / max(short[:, :4].sum() * error.shape[-1], 1))
    if found.sum() < 6 or not 0.005 < share < 0.25 or np.median(error[found]) < 0.2:
        return []
    rows = found.any((1, 2))
    calm = np.nanquantile(error[rows], 0.25, axis=1) < 10 * usual + 1e-4
    if calm.mean() < 0.43:
        return []  # everything is rough there: points too far apart, not a kink
    change = data.slopes(near.head) - data.slopes(near.tail)[:, None]
    bend = np.abs((change * near.step[:, :, None]).sum(-1)) + 1e-12 * near.scale
    # Across a kink the residual is from nothing to half of the bend; a bad row makes half or more.
    ratio, most = np.quantile((np.abs(residual) / bend)[found], [0.5, 0.9])
    if ratio < 0.45 or most < 0.52:
        text = f"the slope jumps inside {share:.1%} of the pairs; elsewhere labels agree"
        return [Finding("kinks", share, text)] if ratio > 0.14 else []
    text = f"{share:.1%} of the pairs disagree, others do not: bad rows near {near.tail[rows][:3]}"
    return [Finding("disagree", share, text)]
