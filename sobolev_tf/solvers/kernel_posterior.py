"""The posterior of a kernel net: standard deviations of its values and slopes."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import jets
from sobolev_tf.model.posterior import Posterior
from sobolev_tf.solvers.gaussian_process import GaussianProcess
from sobolev_tf.solvers.jitter import with_enough_jitter
from sobolev_tf.solvers.kernel_covariance import bells

_OLD_JITTER = 1e-11  # of layers in files without their own
_LEAST_PRECISION = 1e-200  # so that it has a square
_TREND = 1e-8  # precision of coefficients on which no label depends, in z-scores


@keras.saving.register_keras_serializable(package="sobolev_tf")
class KernelPosterior(Posterior):
    """Variances of a Gaussian process given values and slopes, in closed form.

    With C the covariances of the labels, noise included, and c those of labels and f(z), the
    variance of f(z) is σ² (k(0) - cᵀ C⁻¹ c), plus that of the trend's coefficients (Rasmussen and
    Williams, 2006, equation 2.42). The Cholesky factor of C is not saved, which keeps files small,
    but computed again when it is needed.

    Args:
      outputs: K.
      units: n, the number of points.
      inputs: D.
      jitter: [K], variance that every label has beside its noise, over σ².
      linear_trends: [K], whether trends are linear; constants if not.
    """

    def __init__(
        self,
        outputs: int,
        units: int,
        inputs: int,
        jitter: Sequence[float] | None = None,
        linear_trends: Sequence[bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.jitter = tuple(jitter or [_OLD_JITTER] * outputs)
        self.linear_trends = tuple(linear_trends or [True] * outputs)
        self.outputs, self.units, self.inputs = outputs, units, inputs

        def variable(shape, name):
            return self.add_weight(shape, "ones", "float64", trainable=False, name=name)

        self.centers = variable((units, inputs), "centers")
        self.present = variable((outputs, units, 1 + inputs), "present")
        self.lengths = variable((outputs, inputs), "lengths")
        self.alpha = variable((outputs,), "alpha")
        self.variance = variable((outputs,), "variance")
        self.label_noise = variable((outputs, 1 + inputs), "label_noise")  # over σ²
        self.weights_of_rows = variable((units,), "weights_of_rows")

    def assign(self, processes: list[GaussianProcess]) -> None:
        """Assign the processes of all outputs, which have the same points."""
        self.centers.assign(processes[0].labels.points)
        self.present.assign(np.array([p.present for p in processes], float))
        self.lengths.assign([p.prior.lengths for p in processes])
        self.alpha.assign([p.prior.alpha for p in processes])
        self.variance.assign([p.variance for p in processes])
        self.label_noise.assign([p.label_noise for p in processes])
        self.weights_of_rows.assign(processes[0].weights)
        self.linear_trends = tuple(p.prior.linear_trend for p in processes)
        # TensorFlow's rounding is another than NumPy's, and its graphs cannot try again.
        self.jitter = tuple(
            with_enough_jitter(functools.partial(self._factors, k), process.jitter)[1]
            for k, process in enumerate(processes)
        )

    def variances(self, equation: Any, x: Any) -> jets.Jet:
        """Compute the variances of values [B,K] and slopes [B,K,D] in z-scores.

        Args:
          equation: the model's `Equation`.
          x: points, as `equation.cast` returns them.
        """
        z = tf.cast(equation.scaling.scale_x(equation.inputs.point(x)), tf.float64)
        columns = tf.stack([self._of_output(z, k) for k in range(self.outputs)], 1)
        return jets.Jet(columns[..., 0], (columns[..., 1:],))

    def noise(self) -> jets.Jet:
        """Return the variances of label noise in z-scores: [K] and [K,D]."""
        noise = self.label_noise * self.variance[:, None]
        return jets.Jet(noise[:, 0], (noise[:, 1:],))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments for a saved layer."""
        sizes = {"outputs": self.outputs, "units": self.units, "inputs": self.inputs}
        settings = {"jitter": list(self.jitter), "linear_trends": list(self.linear_trends)}
        return {"name": self.name, **sizes, **settings}

    def _units(self, k):
        """The inverse units of value and slopes of one output [1+D]: 1 and l."""
        return tf.concat([tf.ones([1], tf.float64), self.lengths[k]], 0)

    def _trend_basis(self, points, k):
        """`trend_basis` of one output in units of u [B,1+D,1+D]; 0 for coefficients it lacks."""
        basis = _trend_basis(points) * self._units(k)[:, None]
        if self.linear_trends[k]:
            return basis
        return basis * tf.one_hot(0, 1 + self.inputs, dtype=basis.dtype)

    def _factors(self, k, jitter):
        """L of C = L Lᵀ [N,N], H = L⁻¹ times the trend's basis, and the factor of HᵀH."""
        size, units = self.units * (1 + self.inputs), self._units(k)
        present = tf.reshape(self.present[k], [-1])
        centers = self.centers / self.lengths[k]
        gram = _covariance(centers, centers, self.alpha[k])
        gram = tf.reshape(gram, [size, size]) * present * present[:, None]
        noise = tf.reshape(self.label_noise[k] * units**2 / self.weights_of_rows[:, None], [-1])
        gram = tf.linalg.set_diag(
            gram, tf.where(present > 0, tf.linalg.diag_part(gram) + noise + jitter, 1.0)
        )
        factor = tf.linalg.cholesky(gram)
        basis = tf.reshape(self._trend_basis(self.centers, k), [size, -1])
        basis = tf.linalg.triangular_solve(factor, basis * present[:, None])
        precision = tf.linalg.matmul(basis, basis, transpose_a=True)
        own = tf.linalg.diag_part(precision)
        least = tf.maximum(_TREND * self.variance[k], _LEAST_PRECISION)
        precision = tf.linalg.set_diag(precision, own * (1 + jitter) + least)
        return factor, basis, tf.linalg.cholesky(precision)

    def _of_output(self, z, k):
        """Variances of value and slopes of one output [B,1+D]."""
        units, jitter = self._units(k), self.jitter[k]
        factor, basis, of_trend = self._factors(k, jitter)
        present, centers = tf.reshape(self.present[k], [-1]), self.centers / self.lengths[k]
        cross = _covariance(z / self.lengths[k], centers, self.alpha[k])
        cross = tf.reshape(cross, [-1, present.shape[0]]) * present
        solved = tf.linalg.triangular_solve(factor, tf.transpose(cross))  # [N,B(1+D)]
        own = tf.reshape(self._trend_basis(z, k), [-1, 1 + self.inputs])
        left = tf.transpose(own) - tf.linalg.matmul(basis, solved, transpose_a=True)
        trend = tf.reduce_sum(tf.linalg.triangular_solve(of_trend, left) ** 2, 0)
        # Rounding leaves no digit of a smaller difference.
        variances = tf.maximum(1 - tf.reduce_sum(solved**2, 0), jitter) + trend
        return self.variance[k] * tf.reshape(variances, [-1, 1 + self.inputs]) / units**2


def _covariance(points, others, alpha):
    """`kernel_covariance.covariance` of tensors in units of u: [B,1+D,n,1+D]."""
    u = points[:, None] - others[None]
    k0, k1, k2 = bells(tf.reduce_sum(u**2, -1), alpha, 3)
    slopes = k1[..., None] * u
    eye = tf.eye(u.shape[-1], dtype=u.dtype)
    pairs = k1[..., None, None] * eye - k2[..., None, None] * u[..., None] * u[..., None, :]
    top = tf.concat([k0[..., None], slopes], -1)[:, :, None]
    rest = tf.concat([-slopes[..., None], pairs], -1)
    return tf.transpose(tf.concat([top, rest], 2), [0, 2, 1, 3])


def _trend_basis(points):
    """`gaussian_process.trend_basis` of tensors: [B,1+D,1+D]."""
    value = tf.concat([tf.ones_like(points[:, :1]), points], 1)[:, None]
    slopes = tf.eye(1 + points.shape[1], dtype=points.dtype)[None, 1:] + value[:, :1, :1] * 0
    return tf.concat([value, slopes], 1)
