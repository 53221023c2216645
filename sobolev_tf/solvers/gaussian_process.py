"""The Gaussian process of a kernel net: its closed form, given labels and a prior.

Labels are values and slopes of m(z) + f(z) + noise: m is a trend with free coefficients, f a random
function with the covariance of `kernel_covariance`, one length scale for each input (automatic
relevance) and one variance σ² for all. The best coefficients and σ² have closed forms (Rasmussen
and Williams, 2006, chapter 2; with slopes: Solak et al., 2003).
"""

import dataclasses

import numpy as np

from sobolev_tf.solvers.jitter import jitter_against_rounding, with_enough_jitter
from sobolev_tf.solvers.kernel_covariance import covariance, differences, pull_back

_DEPENDENT = 1e-6  # singular values of the trend's basis that count as 0, over the largest


@dataclasses.dataclass(frozen=True)
class Labels:
    """Values and slopes in z-scores, NaN where they are missing.

    Attributes:
      points: [n,D].
      entries: [n,1+D], the value first.
      sizes: [D], typical slopes, in whose units the noise of slopes is measured.
      weights: [n]; the noise of a point of weight w has 1/w of the variance. None: all 1.
    """

    points: np.ndarray
    entries: np.ndarray
    sizes: np.ndarray
    weights: np.ndarray | None = None

    @property
    def present(self) -> np.ndarray:
        """Whether each entry is there [n,1+D]."""
        return ~np.isnan(self.entries)

    def of_rows(self, rows: np.ndarray) -> "Labels":
        """Return the labels of some points."""
        weights = None if self.weights is None else self.weights[rows]
        points, entries = self.points[rows], self.entries[rows]
        return dataclasses.replace(self, points=points, entries=entries, weights=weights)

    def without(self, term: str) -> "Labels":
        """Return the labels without values ("value") or without slopes ("d1")."""
        entries = self.entries.copy()
        entries[:, slice(0, 1) if term == "value" else slice(1, None)] = np.nan
        return dataclasses.replace(self, entries=entries)


@dataclasses.dataclass(frozen=True)
class Prior:
    """The parameters of a prior, which a search finds.

    Attributes:
      lengths: l [D].
      alpha: α.
      value_noise, slope_noise: deviations of labels, over σ; slopes' over `Labels.sizes` as well.
      uses_slopes: whether labels of slopes are used; if not, `slope_noise` only describes them.
      linear_trend: whether the trend is linear; a constant if not.
    """

    lengths: np.ndarray
    alpha: float
    value_noise: float
    slope_noise: float
    uses_slopes: bool = True
    linear_trend: bool = True

    @classmethod
    def from_logs(cls, logs: np.ndarray, linear_trend: bool = True) -> "Prior":
        """Make a prior from the logarithms [D+3] of its numbers."""
        *lengths, alpha, value_noise, slope_noise = np.exp(logs).tolist()
        lengths = np.array(lengths)
        return cls(lengths, alpha, value_noise, slope_noise, linear_trend=linear_trend)

    def logs(self) -> np.ndarray:
        """Return the logarithms [D+3] of its numbers."""
        return np.log([*self.lengths, self.alpha, self.value_noise, self.slope_noise])


class GaussianProcess:
    """The closed form of f and of the trend, given labels and a prior.

    The equations are in units of u, in which values and slopes have variance 1.

    Args:
      labels: the `Labels`.
      prior: the `Prior`.

    Attributes:
      trend: coefficients [1+D] of 1 and z.
      readout: [n,1+D], of the covariances with the labels; 0 where a label is missing.
      variance: σ²; 1, that of z-scores, if the trend takes all labels.
      label_noise: variances of the noise of values and slopes [1+D], over σ².
      jitter: variance that every label has beside its noise, against rounding.

    Raises:
      numpy.linalg.LinAlgError: covariances are not finite.
    """

    def __init__(self, labels: Labels, prior: Prior) -> None:
        labels = labels if prior.uses_slopes else labels.without("d1")
        self.labels, self.prior = labels, prior
        points, lengths = labels.points, prior.lengths
        self.present = labels.present
        kept = np.flatnonzero(self.present)
        units = np.concatenate([[1.0], lengths])
        self.u = differences(points, points, lengths)
        gram = covariance(self.u, prior.alpha).reshape([self.present.size] * 2)
        gram = gram if len(kept) == len(gram) else gram[np.ix_(kept, kept)]
        noise = np.array([prior.value_noise, *(prior.slope_noise * labels.sizes)]) ** 2
        self.label_noise, self.noise = noise, noise * units**2
        self.weights = np.ones(len(points)) if labels.weights is None else labels.weights
        diagonal = np.diagonal(gram) + (self.noise / self.weights[:, None])[self.present]

        def factor(jitter):
            np.fill_diagonal(gram, diagonal + jitter)
            return np.linalg.cholesky(gram)

        lower, self.jitter = with_enough_jitter(factor, jitter_against_rounding(len(kept)))
        self.targets = (labels.entries * units).ravel()[kept]
        basis = (trend_basis(points) * units[:, None]).reshape(self.present.size, -1)[kept]
        if not prior.linear_trend:
            basis[:, 1:] = 0
        self.log_determinant = 2 * np.sum(np.log(np.diagonal(lower)))
        self.log_determinant -= 2 * np.sum(self.present[:, 1:] * np.log(lengths))
        # Rows of much noise are 1e20 times larger; the condition is the root of the matrix's.
        sizes = np.linalg.norm(lower, axis=1)
        whiten = np.linalg.inv(lower / sizes[:, None]) / sizes
        self.inverse = whiten.T @ whiten
        self.basis = basis
        self.trend, rank = _least_squares(whiten @ basis, whiten @ self.targets)
        self.targets = self.targets - basis @ self.trend
        white = whiten @ self.targets
        self.variance = max(white @ white / len(kept), np.finfo(float).tiny)
        if len(kept) <= rank:
            self.variance = 1.0
        self.flat = whiten.T @ white
        self.flat += self.inverse @ (self.targets - gram @ self.flat)  # refined once
        self.readout = self._spread(self.flat)

    def surprise(self) -> float:
        """Compute the negative logarithm of the evidence, up to a constant."""
        return 0.5 * (len(self.flat) * np.log(self.variance) + self.log_determinant)

    def surprise_gradient(self) -> np.ndarray:
        """Compute the derivatives of `surprise` in the prior's logarithms [D+3]."""
        scaled = self.flat / np.sqrt(self.variance)
        weights = self.inverse - np.outer(scaled, scaled)
        diagonal = np.sum(self._spread(np.diagonal(weights)) / self.weights[:, None], 0)
        explained = self.flat * self.targets / self.variance
        units = np.sum(self._spread(1 - explained), 0)[1:]  # of slopes are 1 / l
        units -= (diagonal * self.noise)[1:]
        size = self.present.size
        if len(self.flat) < size:
            whole = np.zeros([size, size])
            kept = np.flatnonzero(self.present)
            whole[np.ix_(kept, kept)] = weights
            weights = whole
        weights = weights.reshape([*self.present.shape] * 2)
        by_lengths, by_alpha = pull_back(self.u, self.prior.alpha, weights)
        by_noise = 2 * diagonal * self.noise
        slopes = by_lengths - 2 * units
        return np.array([*slopes, by_alpha, by_noise[0], np.sum(by_noise[1:])]) / 2

    def left_out_errors(self, refit_trend: bool = False) -> np.ndarray:
        """Compute the error of each point's value, predicted from all other points, in closed form.

        Args:
          refit_trend: whether the trend is fitted anew without the point, or is that of all.

        Returns:
          [n], NaN where there is no value label.
        """
        inverse = self.inverse
        if refit_trend:  # Rasmussen and Williams, 2006, section 2.7
            weighted = inverse @ self.basis
            inverse = inverse - weighted @ np.linalg.pinv(self.basis.T @ weighted) @ weighted.T
        index = np.full(self.present.shape, -1)
        index[self.present] = np.arange(len(self.flat))
        errors = np.full(len(index), np.nan)
        for i, row in enumerate(index):
            own = row[row >= 0]
            if row[0] >= 0:
                errors[i] = np.linalg.solve(inverse[np.ix_(own, own)], self.flat[own])[0]
        return errors

    def _spread(self, flat):
        """Entries of the present labels as [n,1+D], 0 elsewhere."""
        spread = np.zeros(self.present.shape)
        spread[self.present] = flat
        return spread


def _least_squares(basis, targets):
    """The shortest solution, in units in which each column has length 1; and the rank."""
    sizes = np.linalg.norm(basis, axis=0)
    sizes[sizes == 0] = 1
    found, _, rank, _ = np.linalg.lstsq(basis / sizes, targets, rcond=_DEPENDENT)
    return found / sizes, rank


def trend_basis(points: np.ndarray) -> np.ndarray:
    """Compute values and slopes [n,1+D,1+D] of 1 and z_1 ... z_D at points [n,D]."""
    n, dims = points.shape
    basis = np.broadcast_to(np.eye(1 + dims), [n, 1 + dims, 1 + dims]).copy()
    basis[:, 0, 1:] = points
    return basis
