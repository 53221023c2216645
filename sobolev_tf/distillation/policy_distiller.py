"""PolicyDistiller: a student learns a teacher's policy and its input gradients (section 4.2)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import jets, losses, require, targets, warn
from sobolev_tf.distillation.policies import (
    DIVERGENCES,
    KL,
    ActionError,
    PolicyDivergence,
    log_policy,
)
from sobolev_tf.jets.arguments import answer
from sobolev_tf.keras_support import logits, options
from sobolev_tf.keras_support.errors import errors_of
from sobolev_tf.keras_support.net_configs import serialize_net
from sobolev_tf.keras_support.shapes import batch_shape
from sobolev_tf.model import arguments, labels
from sobolev_tf.model.equation import Equation
from sobolev_tf.model.equation_model import EquationModel
from sobolev_tf.model.scaling import UnscaledFunction
from sobolev_tf.projections import Projection
from sobolev_tf.targets.teacher import as_teacher

BYTE = 255.0  # the largest value of a uint8 image


class FunctionOfBytes(UnscaledFunction):
    """A function of images of 0..255, whose derivatives are those with respect to s / 255."""

    def jet(self, x: tf.Tensor, order: int) -> jets.Jet:
        """Compute f(s) and D^j f [B,*out,*in × j], j = 1..order."""
        value, derivatives = super().jet(x, order)
        return jets.Jet(value, tuple(d * BYTE**j for j, d in enumerate(derivatives, 1)))

    def jvp(self, x: tf.Tensor, v: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute f(s) and Df[v], both [B,*out], for v [B,*in]."""
        value, tangent = super().jvp(x, v)
        return value, tangent * BYTE

    def vjp(self, x: tf.Tensor, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute f(s) and the gradient of <f, u> [B,*in], for u [B,*out]."""
        value, gradient = super().vjp(x, u)
        return value, gradient * BYTE


class PolicyEquation(Equation):
    """The terms of section 4.2: student and teacher are log-policies, states may be images.

    Attributes:
      alpha: as for `PolicyDistiller`.
      uint8_images: as for `PolicyDistiller`; None before the first s.
    """

    masked = True
    alpha: float = 1.0
    uint8_images: bool | None = None

    def net_at(self, x: tf.Tensor, training: bool | None) -> Callable:
        """Return log π as a function of s."""
        net = super().net_at(x, training)
        return lambda point: log_policy(net(point))

    def unscaled_at(self, x: tf.Tensor, training: bool | None = False) -> UnscaledFunction:
        """Return log π as a function of s, with the derivatives that users see."""
        kind = FunctionOfBytes if self.uint8_images else UnscaledFunction
        return kind(self.net_at(x, training), self.scaling)

    def target_at(self, target: Callable, x: tf.Tensor) -> Callable:
        """Return log π* as a function of s."""
        teacher = super().target_at(target, x)
        return lambda point: log_policy(answer("teacher", teacher, point, bool(self.order)))

    def read_batch(self, data: Any) -> labels.Batch:
        """Read a batch (s, logits, sample_weight), its logits as a log-policy."""
        batch = super().read_batch(data)
        if "value" in batch.labels:
            batch.labels["value"] = log_policy(batch.labels["value"])
        return batch

    def requested(self, labeled: dict, target: Callable | None, training: bool) -> list[str]:
        """Return the terms to compare; with stored logits, only gradients need the teacher."""
        if not (training and self.order):
            return super().requested(labeled, target, training)
        if target is None:
            raise ValueError(
                f"alpha={self.alpha} learns from a teacher's input gradients, and there is no "
                "teacher: give one (after loading: model.target = ...), or alpha=0."
            )
        return labels.names(self.order)

    def cast(self, x: Any) -> Any:
        """Return s as floats; integers are an error, except in images."""
        if not isinstance(x, dict | list | tuple):
            x = tf.convert_to_tensor(x)
            if self.uint8_images is None:
                self.uint8_images = x.dtype == tf.uint8
            if x.dtype == tf.uint8 and not self.uint8_images:
                raise ValueError(
                    "s is uint8, but the first s was not: for images of 0..255 "
                    "give uint8_images=True, for anything else floats."
                )
            if self.uint8_images and not x.dtype.is_floating:
                x = tf.cast(x, keras.config.floatx())
        return super().cast(x)

    def specs(self) -> list[tf.TensorSpec]:
        """Return TensorSpecs of the states that an exported model takes: uint8 for images."""
        specs = super().specs()
        if not self.uint8_images:
            return specs
        return [tf.TensorSpec(spec.shape, tf.uint8, spec.name) for spec in specs]

    def served(self, tensors: list) -> tuple:
        """Return (log π, s) at an exported model's inputs."""
        return super().served([self.cast(t) for t in tensors])


@keras.saving.register_keras_serializable(package="sobolev_tf")
class PolicyDistiller(EquationModel):
    """A student policy that learns its teacher's policy and input gradients (section 4.2).

    Minimizes D_KL(π(s) ‖ π*(s)) + α E_v ‖∇_s <log π*(s), v> - ∇_s <log π(s), v>‖, where v is
    uniform on the unit sphere of action space; P directions v per example are drawn anew at every
    training step. The norm is not squared, and is averaged over B and P.

    `fit(s)` takes the labels from the teacher. `fit(s, logits)` uses stored logits [B,A] of the
    teacher, which then runs only if α > 0, for its gradients. `evaluate(s, logits)` compares values
    only. The teacher is frozen; nothing of the student is gradient-stopped.

    Metrics are kl and action_error (see `ActionError`), both weighted by `sample_weight`; losses
    are value_loss and d1_loss.

    Args:
      net: the student, any Keras model s [B,*in] -> logits [B,A]. The distiller itself returns
        log-policies, which are logits too.
      teacher: a function s -> logits: a Keras model, a SavedModel (its path, or loaded),
        `targets.Teacher` (which chooses among several outputs), or any differentiable callable.
      alpha: α, at least 0. It is an argument of the constructor, because it decides which terms the
        model has: with 0 there are no input gradients, and stored logits need no teacher. To change
        α during training, use `compile(loss_weights=[1, schedule])`.
      divergence: the KL divergence to minimize and to report, see `PolicyDivergence`.
      uint8_images: whether s are images of 0..255. If so, derivatives are with respect to s / 255
        in student and teacher, in `predict_jet` and exports too, integers are accepted, and
        `export` serves uint8. None decides by the first s: True if its dtype is uint8.
      projections, orthogonal, unbiased, seed: as for `SobolevModel`.

    Raises:
      ValueError: alpha is negative or not finite, or the divergence is unknown.

    Example:

    >>> def net(width):
    ...     layers = [keras.layers.Dense(width, "tanh"), keras.layers.Dense(3)]
    ...     return keras.Sequential([keras.Input([4]), *layers])
    >>> model = PolicyDistiller(net(8), teacher=net(16), alpha=0.1)
    >>> model.compile("adam")
    >>> sorted(model.fit(tf.ones([8, 4]), verbose=0).history)
    ['action_error', 'd1_loss', 'kl', 'loss', 'value_loss']
    """

    equation: PolicyEquation

    def __init__(
        self,
        net: keras.Model,
        teacher: Any = None,
        *,
        alpha: float = 1.0,
        divergence: str = "student_teacher",
        uint8_images: bool | None = None,
        projections: int = 1,
        unbiased: bool = False,
        orthogonal: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        caller, distiller = type(self).__name__, PolicyDistiller
        renamed = {"frames": "uint8_images", "target": "teacher"}
        options.refuse_unknown(caller, kwargs, distiller.__init__, distiller.compile, renamed)
        require.model(caller, "net", net)
        require.number(caller, "alpha", alpha, at_least=0)
        require.one_of(caller, "divergence", divergence, DIVERGENCES)
        require.one_of(caller, "uint8_images", uint8_images, (True, False, None))
        teacher = as_teacher(teacher)
        _warn_of_softmax("the student", net)
        _warn_of_softmax("the teacher", getattr(teacher, "model", None))
        self.alpha, self.divergence = alpha, divergence
        fields = {"count": projections, "unbiased": unbiased, "orthogonal": orthogonal}
        projection = arguments.as_projection(caller, "output", seed, **fields)
        equation = PolicyEquation(net, order=1 if alpha else 0)
        equation.alpha, equation.uint8_images = alpha, uint8_images
        with errors_of(caller):
            super().__init__(equation, teacher, projection, **kwargs)

    @property
    def uint8_images(self) -> bool | None:
        """Whether s are images of 0..255; None before the first s."""
        return self.equation.uint8_images

    @property
    def projection(self) -> Projection:
        """The directions v; length 255 for images makes gradients those with respect to s / 255."""
        length = BYTE if self.equation.uint8_images else 1.0
        return dataclasses.replace(self._projection, length=length)

    @projection.setter
    def projection(self, projection: Projection) -> None:
        self._projection = projection

    def build(self, input_shape: Any) -> None:
        """Build the student if it is not built yet.

        Raises:
          ValueError: the student's output is not [B,A].
        """
        super().build(input_shape)
        outputs, owner = self.equation.output_dims, type(self).__name__
        if len(outputs) != 1:
            raise ValueError(
                f"{owner}: the student returns {batch_shape(outputs)}, expected [B, A]."
            )
        if outputs[0] == 1:
            raise ValueError(
                f"{owner}: the student has one action: its policy is 1 whatever it learns."
            )

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Configure training; by default as in section 4.2.

        Args:
          optimizer, metrics, *args, **kwargs: as for `SobolevModel.compile`.
          loss: the losses of the policy and of its gradient; default: [PolicyDivergence, Norm].
          loss_weights: default: [1, alpha]. With a schedule for α: [1, schedule].
          weighted_metrics: default: [KL, ActionError].
        """
        pair = [PolicyDivergence(self.divergence), losses.Norm()]
        if weighted_metrics is None:
            weighted_metrics = [KL(self.divergence), ActionError()]
        super().compile(
            optimizer,
            pair[: self.order + 1] if loss is None else loss,
            [1.0, self.alpha][: self.order + 1] if loss_weights is None else loss_weights,
            metrics,
            weighted_metrics,
            *args,
            **kwargs,
        )

    def adapt(self, *args: Any, **kwargs: Any) -> None:
        """Raise ValueError: log-policies are not z-scored."""
        raise ValueError("PolicyDistiller.adapt: log-policies are not scaled: leave adapt out.")

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Compute log π [B,A] at s [B,*in]."""
        return super().call(self._cast(x), training)

    def get_config(self) -> dict:
        """Return the constructor's arguments for a saved model."""
        projection = self.projection
        return {
            "name": self.name,
            "net": serialize_net(self.net),
            "teacher": targets.serialize(self.target),
            "alpha": self.alpha,
            "divergence": self.divergence,
            "uint8_images": self.uint8_images,
            "projections": projection.count,
            "unbiased": projection.unbiased,
            "orthogonal": projection.orthogonal,
            "seed": projection.seed,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "PolicyDistiller":
        config = dict(config)
        if "frames" in config:  # its name in older files
            config["uint8_images"] = config.pop("frames")
        return super().from_config(config, custom_objects)


def _warn_of_softmax(whose: str, net: Any) -> None:
    if logits.last_activation(net) == "softmax":
        warn.at_users_line(
            f"PolicyDistiller: {whose} ends in softmax, and its outputs are taken for logits: "
            "leave the softmax out."
        )
