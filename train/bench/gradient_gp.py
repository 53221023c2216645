"""A Gaussian process that sees gradients, by hand in JAX, without this library.

Squared exponential kernel with a length scale for each input, of z-scores; length scales, variance
and noise by the marginal likelihood, with SciPy's L-BFGS-B from two starts.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

JITTER = 1e-10  # over the kernel's variance
STARTS = (1.0, 3.0)  # length scales, over the root of D
ITERATIONS = 100


def functions() -> tuple[Callable[..., Any], ...]:
    """Make the covariance, the labels' covariance, and the evidence with its gradient."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def gram(a, b, lengths):
        """Covariances [n + nD, m + mD] of values and gradients at a [n,D] and b [m,D]."""
        u = (a[:, None] - b[None]) / lengths
        k = jnp.exp(-0.5 * jnp.sum(u**2, -1))
        n, m, dims = u.shape
        slope = k[..., None] * u / lengths  # [n,m,D]
        eye = jnp.eye(dims) / lengths**2
        pairs = k[..., None, None] * (
            eye - (u / lengths)[..., :, None] * (u / lengths)[..., None, :]
        )
        right = jnp.reshape(slope, [n, m * dims])
        below = -jnp.reshape(jnp.moveaxis(slope, 2, 1), [n * dims, m])
        corner = jnp.reshape(jnp.transpose(pairs, [0, 2, 1, 3]), [n * dims, m * dims])
        return jnp.block([[k, right], [below, corner]])

    def noisy_gram(logs, z):
        """The labels' covariance, over the variance of values."""
        dims = z.shape[1]
        lengths, value, slope = jnp.exp(logs[:dims]), jnp.exp(logs[dims]), jnp.exp(logs[dims + 1])
        units = jnp.concatenate([jnp.ones(len(z)), jnp.tile(1 / lengths**2, len(z))])
        noise = jnp.concatenate([jnp.full(len(z), value), jnp.full(z.size, slope)])
        return gram(z, z, lengths) + jnp.diag(noise**2 + JITTER * units)

    def surprise(logs, z, labels):
        """The negative logarithm of the evidence, of the best variance."""
        factor = jnp.linalg.cholesky(noisy_gram(logs, z))
        solved = jax.scipy.linalg.solve_triangular(factor, labels, lower=True)
        log_determinant = 2 * jnp.sum(jnp.log(jnp.diag(factor)))
        return 0.5 * (len(labels) * jnp.log(jnp.mean(solved**2)) + log_determinant)

    return jax.jit(gram), noisy_gram, jax.jit(jax.value_and_grad(surprise))


def fit(x: np.ndarray, y: np.ndarray, dy: np.ndarray) -> Callable:
    """Fit x [B,D], y [B,1] and dy [B,D]; return points -> (value [B,1], gradient [B,D])."""
    from scipy import optimize

    gram, noisy_gram, evaluate = functions()
    mean, deviation, value_mean, value_deviation = x.mean(0), x.std(0), y.mean(), y.std()
    z, dims = (x - mean) / deviation, x.shape[1]
    slopes = dy * deviation / value_deviation
    labels = np.concatenate([(y[:, 0] - value_mean) / value_deviation, slopes.ravel()])

    def objective(logs):
        value, gradient = (np.array(a, float) for a in evaluate(logs, z, labels))
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            return 1e10, np.zeros_like(logs)
        return float(value), gradient

    bounds = [(-3.0, 8.0)] * dims + [(-18.0, 1.0)] * 2
    found = []
    for start in STARTS:
        logs = np.array([np.log(start * np.sqrt(dims))] * dims + [-9.0, -9.0])
        options = {"maxiter": ITERATIONS}
        found.append(
            optimize.minimize(
                objective, logs, jac=True, method="L-BFGS-B", bounds=bounds, options=options
            )
        )
    logs = min(found, key=lambda result: result.fun).x
    weights = np.linalg.solve(np.array(noisy_gram(logs, z)), labels)
    lengths = np.exp(logs[:dims])

    def predict(points):
        values, gradients = [], []
        for part in np.array_split((points - mean) / deviation, max(1, len(points) // 50)):
            answer = np.array(gram(part, z, lengths) @ weights)
            values.append(answer[: len(part)])
            gradients.append(answer[len(part) :].reshape(len(part), dims))
        value = np.concatenate(values)[:, None] * value_deviation + value_mean
        return value, np.concatenate(gradients) * value_deviation / deviation

    return predict
