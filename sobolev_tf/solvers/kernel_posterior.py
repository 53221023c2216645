"""The posterior of a kernel net: standard deviations of its values and slopes."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import jets
from sobolev_tf.model.posterior import Posterior
from sobolev_tf.solvers.kernel_covariance import bells
from sobolev_tf.solvers.kernel_evidence import JITTER, GaussianProcess


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
    """

    def __init__(self, outputs: int, units: int, inputs: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
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
        return {"name": self.name, **sizes}

    def _of_output(self, z, k):
        """Variances of value and slopes of one output [B,1+D]."""
        lengths, size = self.lengths[k], self.units * (1 + self.inputs)
        units = tf.concat([tf.ones([1], tf.float64), lengths], 0)  # of slopes are 1 / l
        present = tf.reshape(self.present[k], [-1])
        centers = self.centers / lengths
        gram = _covariance(centers, centers, self.alpha[k])
        gram = tf.reshape(gram, [size, size]) * present * present[:, None]
        noise = tf.reshape(self.label_noise[k] * units**2 / self.weights_of_rows[:, None], [-1])
        gram = tf.linalg.set_diag(
            gram, tf.where(present > 0, tf.linalg.diag_part(gram) + noise + JITTER, 1.0)
        )
        factor = tf.linalg.cholesky(gram)
        basis = tf.reshape(_trend_basis(self.centers) * units[:, None], [size, -1])
        basis = tf.linalg.triangular_solve(factor, basis * present[:, None])
        cross = tf.reshape(_covariance(z / lengths, centers, self.alpha[k]), [-1, size]) * present
        solved = tf.linalg.triangular_solve(factor, tf.transpose(cross))  # [N,B(1+D)]
        own = tf.reshape(_trend_basis(z) * units[:, None], [-1, 1 + self.inputs])
        left = tf.transpose(own) - tf.linalg.matmul(basis, solved, transpose_a=True)
        ridge = JITTER * tf.eye(1 + self.inputs, dtype=tf.float64)
        inner = tf.linalg.cholesky(tf.linalg.matmul(basis, basis, transpose_a=True) + ridge)
        trend = tf.reduce_sum(tf.linalg.triangular_solve(inner, left) ** 2, 0)
        variances = tf.maximum(1 - tf.reduce_sum(solved**2, 0), JITTER) + trend
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
    """`kernel_evidence.trend_basis` of tensors: [B,1+D,1+D]."""
    value = tf.concat([tf.ones_like(points[:, :1]), points], 1)[:, None]
    slopes = tf.eye(1 + points.shape[1], dtype=points.dtype)[None, 1:] + value[:, :1, :1] * 0
    return tf.concat([value, slopes], 1)
