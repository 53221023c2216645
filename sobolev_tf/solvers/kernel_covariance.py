"""The prior of a kernel net: the covariance of a random function's values and slopes.

The kernel is rational quadratic, k(s) = (1 + s / 2α)^-α with s = |u|² and u = (z - z') / l: a mix
of Gaussian bells of many widths, one for each α; for large α it is one bell (Rasmussen and
Williams, 2006, equation 4.19). Slopes are taken in u, so that each has variance 1 as values do.
"""

from typing import Any

import numpy as np
import tensorflow as tf


def bells(s: Any, alpha: Any, count: int) -> list:
    """Compute k and its derivatives (-2 d/ds)^i k for i below `count`, of arrays or tensors.

    >>> [float(b) for b in bells(np.array(0.0), 2.0, 3)]
    [1.0, 1.0, 1.5]
    """
    exp, log1p = (tf.exp, tf.math.log1p) if tf.is_tensor(s) else (np.exp, np.log1p)
    ratio = s / (2 * alpha)
    k = [exp(-alpha * log1p(ratio))]  # a power of 1 + ratio would lose the digits of α
    for i in range(count - 1):
        k.append(k[-1] * (1 + i / alpha) / (1 + ratio))
    return k


def differences(points: np.ndarray, others: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Compute u = (z - z') / l of all pairs of points [n,D] and [m,D]: [n,m,D]."""
    return (points[:, None] - others[None]) / lengths


def covariance(u: np.ndarray, alpha: float) -> np.ndarray:
    """Compute the covariances of values and slopes of all pairs.

    Args:
      u: [n,m,D].
      alpha: α.

    Returns:
      [n,1+D,m,1+D]; the first of 1+D is the value.
    """
    n, m, dims = u.shape
    k0, k1, k2 = bells(np.sum(u**2, -1), alpha, 3)
    blocks = np.empty([n, 1 + dims, m, 1 + dims])
    blocks[:, 0, :, 0] = k0
    slopes = np.moveaxis(k1[..., None] * u, 1, 2)  # [n,D,m]
    blocks[:, 0, :, 1:] = np.moveaxis(slopes, 1, 2)
    blocks[:, 1:, :, 0] = -slopes
    curved = k2[..., None] * u
    for i in range(dims):
        blocks[:, 1 + i, :, 1:] = -curved * u[..., i, None]
        blocks[:, 1 + i, :, 1 + i] += k1
    return blocks


def pull_back(u: np.ndarray, alpha: float, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Compute the derivatives of Σ weights · covariance(u, α) in log l [D], by u, and in log α.

    Args:
      u: [n,n,D], of all pairs of one set of points.
      alpha: α.
      weights: [n,1+D,n,1+D], symmetric.

    Returns:
      The derivatives in log l [D], and in log α.
    """
    s = np.sum(u**2, -1)
    k = bells(s, alpha, 4)
    n, _, dims = u.shape
    along = np.zeros([n, n, dims])  # W u + Wᵀ u, with W the weights of pairs of slopes
    trace = np.zeros([n, n])
    for i in range(dims):
        along += weights[:, 1 + i, :, 1:] * u[..., i, None]
        along[..., i] += np.sum(weights[:, 1 + i, :, 1:] * u, -1)
        trace += weights[:, 1 + i, :, 1 + i]
    values = weights[:, 0, :, 0]
    mixed = weights[:, 0, :, 1:] - np.moveaxis(weights[:, 1:, :, 0], 1, 2)  # [n,n,D]
    mixed_u, along_u = np.sum(mixed * u, -1), np.sum(along * u, -1) / 2
    radial = values * k[1] + (mixed_u + trace) * k[2] - along_u * k[3]
    by_lengths = np.einsum("nm,nmd->d", radial, u**2)
    by_lengths += np.einsum("nmd,nmd->d", k[2][..., None] * along - k[1][..., None] * mixed, u)
    d0, d1, d2 = _by_log_alpha(s, alpha, k)
    by_alpha = np.sum(values * d0 + (mixed_u + trace) * d1 - along_u * d2)
    return by_lengths, float(by_alpha)


def _by_log_alpha(s, alpha, k):
    """Derivatives of the first three bells in log α."""
    ratio = s / (2 * alpha)
    shrink = ratio / (1 + ratio)
    common = alpha * (shrink - np.log1p(ratio))
    return [
        k[0] * common,
        k[1] * (common + shrink),
        k[2] * (common + 2 * shrink - 1 / (1 + alpha)),
    ]
