"""Posteriors: standard deviations of a fitted net's value and gradient at any point.

`SobolevModel.set_posterior` takes any `Posterior`; `LaplacePosterior` is that of
`fit_least_squares`.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import jets
from sobolev_tf.keras_support.checksums import checksum
from sobolev_tf.model.equation import Equation
from sobolev_tf.model.weight_jacobian import weight_jacobians

BATCH_SIZE = 32  # of `predict_std`: the Jacobian of a row is many times larger than its jet


class Posterior(keras.layers.Layer):
    """Variances of a net's value and gradient, as a layer that is saved and exported with the net.

    Its state is in its variables, which the constructor makes from what `get_config` returns.

    Attributes:
      of_weights: the checksum of the net's weights for which it was computed.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, trainable=False, **kwargs)
        self.of_weights = self.add_weight((), "zeros", "int64", trainable=False, name="of_weights")
        self.built = True

    def variances(self, equation: Equation, x: Any) -> jets.Jet:
        """Compute variances in z-scores, without the labels' noise.

        Args:
          equation: the net.
          x: a batch, as `Equation.cast` returns it.

        Returns:
          Value [B,*out], gradient [B,*out,*in].
        """
        raise NotImplementedError

    def noise(self) -> jets.Jet:
        """Return variances of the labels' noise in z-scores; 0 if they are not known.

        Returns:
          Value [*out], gradient [*out,*in].
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="sobolev_tf")
class LaplacePosterior(Posterior):
    """The Gaussian of a net's weights around those of a fit, linearized there (MacKay, 1992).

    Its covariance is s² (JᵀJ + ρ)⁻¹, with J the Jacobian of the weighted labels. With the singular
    vectors V and values λ of J, that is the square of s/√ρ (1 - V c Vᵀ), c = 1 - √(ρ / (λ² + ρ)),
    which no rounding makes negative. V needs 8 bytes x weights x the rank of J at most.

    Args:
      num_weights: N.
      rank: R, the number of directions in weight space that the labels determine.
      outputs, inputs: *out and *in.
    """

    def __init__(
        self,
        num_weights: int,
        rank: int,
        outputs: tuple[int, ...],
        inputs: tuple[int, ...],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        outputs, inputs = tuple(outputs), tuple(inputs)
        self._config: dict[str, Any] = {"num_weights": num_weights, "rank": rank}
        self._config |= {"outputs": outputs, "inputs": inputs}

        def variable(name, shape):
            return self.add_weight(shape, "zeros", "float64", trainable=False, name=name)

        self.axes = variable("axes", (num_weights, rank))
        self.shares = variable("shares", (rank,))
        self.prior = variable("prior", ())
        self.value_noise = variable("value_noise", outputs)
        self.gradient_noise = variable("gradient_noise", outputs + inputs)

    def set(
        self,
        axes: np.ndarray,
        shares: np.ndarray,
        prior: float,
        value_noise: np.ndarray,
        gradient_noise: np.ndarray,
    ) -> None:
        """Assign V [N,R], c [R], s/√ρ, and the noise variances of values and gradients."""
        numbers = (axes, shares, prior, value_noise, gradient_noise)
        variables = (self.axes, self.shares, self.prior, self.value_noise, self.gradient_noise)
        for variable, number in zip(variables, numbers, strict=True):
            variable.assign(number)

    def variances(self, equation: Equation, x: Any) -> jets.Jet:
        """Compute the variances of value [B,*out] and gradient [B,*out,*in] in z-scores."""
        jacobians = weight_jacobians(
            lambda row: equation.full_terms(row, {}, 1),
            x,
            equation.net.trainable_variables,
            "predict_std",
        )
        value, gradient = (self._variance(jacobians[name]) for name in ("value", "d1"))
        outputs, inputs = self._config["outputs"], self._config["inputs"]
        value = tf.reshape(value, [-1, *outputs])
        return jets.Jet(value, (tf.reshape(gradient, [-1, *outputs, *inputs]),))

    def noise(self) -> jets.Jet:
        """Return the variances of the labels' noise: value [*out] and gradient [*out,*in]."""
        value, gradient = map(tf.convert_to_tensor, (self.value_noise, self.gradient_noise))
        return jets.Jet(value, (gradient,))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments for a saved model."""
        return {"name": self.name, **self._config}

    def _variance(self, jacobian):
        """Variances [B,E] of entries whose derivatives in the weights are [B,E,N]."""
        jacobian = tf.cast(jacobian, tf.float64)
        axes = tf.convert_to_tensor(self.axes)
        settled = tf.einsum("ben,nr->ber", jacobian, axes) * self.shares
        left = jacobian - tf.einsum("ber,nr->ben", settled, axes)
        return tf.reduce_sum(left**2, -1) * self.prior**2


def standard_deviations(posterior: Any, equation: Equation, x: Any, noise: bool) -> jets.Jet:
    """Compute standard deviations of value and gradient in the user's units.

    Args:
      posterior: a layer with the methods of this module.
      equation: the net.
      x: a batch, as `Equation.cast` returns it.
      noise: whether to add the labels' noise.

    Returns:
      Value [B,*out] and gradient [B,*out,*in], in the net's dtype.
    """
    value, [gradient] = posterior.variances(equation, x)
    if noise:
        value_noise, [gradient_noise] = posterior.noise()
        value, gradient = value + value_noise, gradient + gradient_noise
    scaling, dtype = equation.scaling, equation.inputs.point(x).dtype
    value = scaling.unscale_jvp(tf.sqrt(value))
    gradient = scaling.unscale_derivative(tf.sqrt(gradient), 1)
    value, gradient = (jets.at_least_float32(tf.cast(t, dtype)) for t in (value, gradient))
    return jets.Jet(value, (gradient,))


def refuse_without(caller: str, posterior: Posterior | None, current: bool) -> None:
    """Refuse a model without a posterior, or with a posterior of other weights.

    Raises:
      ValueError: says what to do.
    """
    fit = 'fit_least_squares(..., regularization="evidence")'
    if posterior is None:
        raise ValueError(
            f"{caller}: the model has no posterior; fit_surrogate gives one, or {fit}."
        )
    if not current:
        raise ValueError(
            f"{caller}: the weights or the scaling have changed since the posterior was computed: "
            f"call {fit} or fit_surrogate again."
        )


def weights_checksum(equation: Equation) -> int:
    """Return a number that changes with the weights of the net and its scaling."""
    return checksum((*equation.net.weights, *equation.scaling.weights))
