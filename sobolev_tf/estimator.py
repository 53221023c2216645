"""SobolevRegressor: `fit_surrogate` as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from sobolev_tf import jets, require
from sobolev_tf.jets.arguments import refuse_not_dense
from sobolev_tf.solvers.surrogate import fit_surrogate


class SobolevRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """A scikit-learn regressor that learns from values and, if given, gradients.

    `fit` calls `fit_surrogate`, which chooses the net from the data. The result does not depend on
    the order of the rows. The noise of a row of weight w has 1/w of the variance.

    Args:
      net: "auto", "kernel" or "mlp", as for `fit_surrogate`.
      random_state: an int, a `RandomState` or None, as in all of scikit-learn. It decides which
        part of the data is held out, and the initial weights of an MLP.

    Attributes:
      model_: the fitted `SobolevModel`, in the units of X and y.
      n_features_in_: D.

    Example:

    >>> X = np.linspace(-1, 1, 8)[:, None]
    >>> regressor = SobolevRegressor().fit(X, X[:, 0] ** 2, dy=2 * X)
    >>> np.round(regressor.predict_gradient([[0.5]]), 2).tolist()
    [[1.0]]
    """

    def __init__(self, net: str = "auto", random_state: Any = 0) -> None:
        self.net = net
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike, dy: ArrayLike | None = None, sample_weight: Any = None
    ) -> SobolevRegressor:
        """Fit values, and gradients if they are given.

        Args:
          X: points [B,D].
          y: values [B], or [B,K] for K outputs.
          dy: gradients [B,D], or [B,K,D]; NaN for missing ones. None: values only.
          sample_weight: [B], at least 0. Rows of weight 0 are left out.

        Returns:
          The regressor itself.

        Raises:
          ValueError: data have another shape, are not finite, or have fewer than two rows.
        """
        for name, array in (("X", X), ("y", y), ("dy", dy), ("sample_weight", sample_weight)):
            if isinstance(array, np.ma.MaskedArray):  # scikit-learn would drop the mask
                refuse_not_dense(f"SobolevRegressor.fit: {name}", array)
        if isinstance(y, tuple) and len(y) == 2 and np.ndim(y[0]):
            raise ValueError(
                "SobolevRegressor.fit: y is a tuple, expected values [B] or [B,K]: pass "
                "derivatives as in fit(X, y, dy=dy)."
            )
        points, values = validate_data(
            self,
            X,
            y,
            dtype="float64",
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=2,
        )
        self._one_output = values.ndim == 1
        values = values.astype("float64").reshape(len(points), -1)
        slopes = self._slopes(dy, values.shape[1], points)
        weights = _check_sample_weight(sample_weight, points, ensure_non_negative=True)
        points, values, slopes, weights = _distinct_rows(points, values, slopes, weights)
        labels = {"value": values} if slopes is None else {"value": values, "d1": slopes}
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self.model_ = fit_surrogate(
            points, labels, sample_weight=weights, net=self.net, seed=seed, verbose=0
        )
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Predict values.

        Args:
          X: points [B,D].
          return_std: whether to return standard deviations too.

        Returns:
          Values, in the shape of y, [B] or [B,K]; with `return_std` a pair of values and standard
          deviations.
        """
        points = self._points(X)
        values = self._like_y(self.model_.predict_jet(points).value)
        if not return_std:
            return values
        return values, self._like_y(self._std(points).value)

    def predict_gradient(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Predict gradients.

        Args:
          X: points [B,D].
          return_std: whether to return standard deviations too.

        Returns:
          Gradients [B,D], or [B,K,D] if y was [B,K]; with `return_std` a pair of gradients and
          standard deviations.
        """
        points = self._points(X)
        gradients = self._like_y(self.model_.predict_jet(points).derivatives[0])
        if not return_std:
            return gradients
        return gradients, self._like_y(self._std(points).derivatives[0])

    def _points(self, X):
        check_is_fitted(self, "model_")
        return validate_data(self, X, dtype="float64", reset=False)

    def _std(self, points: np.ndarray) -> jets.Jet:
        return self.model_.predict_std(points, batch_size=256, verbose=0)

    def _like_y(self, predicted: np.ndarray) -> np.ndarray:
        return predicted[:, 0] if self._one_output else predicted

    def _slopes(self, dy, outputs, points):
        """Gradients [B,K,D], or None."""
        if dy is None:
            return None
        slopes = check_array(
            dy, dtype="float64", ensure_2d=False, allow_nd=True, ensure_all_finite="allow-nan"
        )
        check_consistent_length(points, slopes)
        shape = (len(points), outputs, points.shape[1])
        if slopes.shape != shape and not (outputs == 1 and slopes.shape == (shape[0], shape[2])):
            raise ValueError(
                f"SobolevRegressor.fit: dy has shape {list(slopes.shape)}, expected {list(shape)}"
                f"{f' or {[shape[0], shape[2]]}' if outputs == 1 else ''}"
                f"{': pass weights of rows as sample_weight=' if slopes.ndim == 1 else ''}."
            )
        return slopes.reshape(shape)


def _distinct_rows(
    X: np.ndarray, values: np.ndarray, slopes: np.ndarray | None, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Sort rows, merge equal ones into one that has their total weight, and drop those of weight 0.

    A row that occurs twice thus becomes a row of weight 2, whatever the order.
    """
    parts = [X, values] if slopes is None else [X, values, slopes.reshape(len(X), -1)]
    rows = np.concatenate(parts, 1)
    _, first, which = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    summed = np.bincount(which.ravel(), weights)
    first, summed = first[summed > 0], summed[summed > 0]
    if len(first) < 2:
        found = require.shown(len(first))
        raise ValueError(
            f"SobolevRegressor.fit: a fit needs two different rows of weight above 0, got {found}."
        )
    return X[first], values[first], None if slopes is None else slopes[first], summed
