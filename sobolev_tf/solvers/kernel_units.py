"""The layer of a kernel net: bells around data points, each times a linear function."""

from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.solvers.kernel_covariance import bells


@keras.saving.register_keras_serializable(package="sobolev_tf")
class KernelUnits(keras.layers.Layer):
    """Units around centers, and a trend: f(z) = t₀ + t·z + Σᵢ k(s) aᵢ + k₁(s) u·bᵢ.

    Here u = (z - cᵢ) / l and s = |u|²; k and k₁ are the first two of `kernel_covariance.bells`.
    With readout (a, b) and trend in closed form, this is the posterior mean of a Gaussian process
    given values and slopes at the centers. Only readout and trend are trainable; everything else
    is set from the data. The layer has derivatives of every order.

    Args:
      units: n, the number of centers.
      inputs: D.

    Example:

    >>> layer = KernelUnits(units=1, inputs=2)
    >>> _ = layer.readout.assign([[2.0, 0.0, 0.0]])
    >>> float(layer(tf.zeros([1, 2]))[0, 0])  # at the center
    2.0
    """

    def __init__(self, units: int, inputs: int, dtype: Any = "float64", **kwargs: Any) -> None:
        super().__init__(dtype=dtype, **kwargs)
        self.units, self.inputs = units, inputs

        def variable(shape, start, name, trainable=False):
            return self.add_weight(shape, start, trainable=trainable, name=name)

        self.centers = variable((units, inputs), "zeros", "centers")
        self.lengths = variable((inputs,), "ones", "lengths")
        self.alpha = variable((), "ones", "alpha")
        self.readout = variable((units, 1 + inputs), "zeros", "readout", trainable=True)
        self.trend = variable((1 + inputs,), "zeros", "trend", trainable=True)
        self.built = True

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """Compute f [B,1] at z [B,D]."""
        u = (z[:, None] - self.centers) / self.lengths
        value, slope = bells(tf.reduce_sum(u**2, -1), self.alpha, 2)
        along = tf.reduce_sum(u * self.readout[:, 1:], -1)
        linear = self.trend[0] + tf.linalg.matvec(z, self.trend[1:])
        units = tf.reduce_sum(value * self.readout[:, 0] + slope * along, -1)
        return (linear + units)[:, None]

    def compute_output_shape(self, shape: tuple) -> tuple:
        """Return [B,1]."""
        return (shape[0], 1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments for a saved layer."""
        return {**super().get_config(), "units": self.units, "inputs": self.inputs}


def kernel_net(units: int, inputs: int, outputs: int) -> keras.Model:
    """Build a net [B,D] -> [B,K] of one `KernelUnits` for each output, in float64."""
    z = keras.Input([inputs], dtype="float64")
    columns = [KernelUnits(units, inputs, name=f"kernel_{k}")(z) for k in range(outputs)]
    joined = columns[0] if outputs == 1 else keras.layers.Concatenate(dtype="float64")(columns)
    return keras.Model(z, joined, name="kernel_net")
