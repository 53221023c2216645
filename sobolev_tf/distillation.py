"""PolicyDistiller: a student policy that matches its teacher's, and its slopes (section 4.2)."""

import dataclasses
import os

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import jets, losses, targets
from sobolev_tf.model import labels
from sobolev_tf.model.sobolev import SobolevModel

DIVERGENCES = ("student_teacher", "teacher_student")


def log_policy(logits):
    """log π [B,A] of logits [B,A], in float32 or wider.

    >>> np.round(np.exp(log_policy(tf.math.log([[1.0, 3.0]]))), 4).tolist()
    [[0.25, 0.75]]
    """
    return tf.nn.log_softmax(jets.at_least_float32(tf.convert_to_tensor(logits)))


def kl(log_p, log_q):
    """D_KL(p ‖ q) = Σ_a p(a) (log p(a) - log q(a)), of log-policies [B,A]: [B].

    >>> p, q = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    >>> round(float(kl(p, q)[0]), 4), round(float(kl(q, p)[0]), 4)
    (0.1438, 0.1308)
    """
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), -1)


@keras.saving.register_keras_serializable(package="sobolev_tf")
class PolicyDivergence(keras.losses.Loss):
    """KL divergence of two policies, given as logits [B,A] of any offset: [B].

    direction: "student_teacher", D_KL(π ‖ π*) with π the prediction, as section 4.2 prints it;
        "teacher_student", D_KL(π* ‖ π).

    >>> teacher, student = tf.math.log([[0.5, 0.5]]), tf.math.log([[0.25, 0.75]])
    >>> round(float(PolicyDivergence()(teacher, student)), 4)
    0.1308
    """

    def __init__(self, direction="student_teacher", name="policy_divergence", **kwargs):
        super().__init__(name=name, **kwargs)
        if direction not in DIVERGENCES:
            raise ValueError(f"divergence is one of {', '.join(DIVERGENCES)}, got {direction!r}.")
        self.direction = direction

    def call(self, y_true, y_pred):
        pair = log_policy(y_pred), log_policy(y_true)
        return kl(*(pair if self.direction == "student_teacher" else pair[::-1]))

    def get_config(self):
        return {**super().get_config(), "direction": self.direction}


@keras.saving.register_keras_serializable(package="sobolev_tf")
class KL(keras.metrics.MeanMetricWrapper):
    """Mean KL divergence of policies given as logits [B,A]; direction as in PolicyDivergence."""

    def __init__(self, direction="student_teacher", name="kl", **kwargs):
        super().__init__(PolicyDivergence(direction).call, name=name, **kwargs)
        self.direction = direction

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype, "direction": self.direction}


@keras.saving.register_keras_serializable(package="sobolev_tf")
class ActionError(keras.metrics.MeanMetricWrapper):
    """How often the most probable actions of two policies [B,A] differ, from 0 to 1.

    >>> metric = ActionError()
    >>> metric.update_state(tf.constant([[1.0, 2.0], [2.0, 1.0]]), tf.constant([[0.0, 5.0]] * 2))
    >>> float(metric.result())
    0.5
    """

    def __init__(self, name="action_error", **kwargs):
        super().__init__(_differ, name=name, **kwargs)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="sobolev_tf")
class PolicyDistiller(SobolevModel):
    """Trains a student policy on its teacher's values and input gradients (section 4.2).

    min  D_KL(π(s) ‖ π*(s)) + α E_v ‖∇_s <log π*(s), v> - ∇_s <log π(s), v>‖, with v uniform on
    the unit sphere of action space, P of them per example, drawn anew at every training step.
    The norm is not squared, and is a mean over B and P.

    net: the student, any Keras model s [B,*in] -> logits [B,A]. The distiller itself answers
        log-policies, which are logits too.
    teacher: from s to logits: a Keras model, a SavedModel (its path, or loaded), `targets.Teacher`
        (which chooses among several outputs), or any differentiable callable. It is frozen.
    alpha: α, at least 0. With 0 this is regular distillation, without any input gradient.
    divergence: which KL is lowered and reported, see `PolicyDivergence`.
    frames: s are images in bytes 0..255: integers are taken too, derivatives are with respect to
        s / 255 in student and teacher, and `export` serves uint8. False: s is taken as it is.
    projections (P), orthogonal, unbiased, seed: as for `SobolevModel`.

    Labels: `fit(s)` asks the teacher for everything; `fit(s, logits)` reads stored logits of the
    teacher [B,A], and then only α > 0 runs it, for its gradients. `evaluate(s, logits)` compares
    values alone. Nothing of the teacher is trained; the student's path is nowhere stopped.

    Metrics: kl and action_error (see `ActionError`), both by sample weight; losses: value_loss,
    d1_loss.

    >>> def net(width):
    ...     layers = [keras.layers.Dense(width, "tanh"), keras.layers.Dense(3)]
    ...     return keras.Sequential([keras.Input([4]), *layers])
    >>> model = PolicyDistiller(net(8), teacher=net(16), alpha=0.1, frames=False)
    >>> model.compile("adam")
    >>> sorted(model.fit(np.ones([8, 4], "f"), verbose=0).history)
    ['action_error', 'd1_loss', 'kl', 'loss', 'value_loss']
    """

    _serialized = ("net", "teacher")

    def __init__(
        self,
        net: keras.Model,
        teacher=None,
        alpha: float = 1.0,
        divergence: str = "student_teacher",
        frames: bool = True,
        **kwargs,
    ):
        if not 0 <= alpha < np.inf:
            raise ValueError(f"alpha is a finite number of at least 0, got {alpha}.")
        PolicyDivergence(divergence)  # refuses an unknown direction
        self.alpha, self.divergence, self.frames = alpha, divergence, frames
        order = 1 if alpha else 0
        super().__init__(net, order, _frozen(teacher), projection="output", **kwargs)
        if frames:  # <log π, v> is linear in v
            self.projection = dataclasses.replace(self.projection, length=255.0)

    def build(self, input_shape):
        super().build(input_shape)
        if len(self.output_dims) != 1:
            raise ValueError(f"the student answers {['B', *self.output_dims]}, expected [B, A].")

    def compile(
        self,
        optimizer="adam",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        **kwargs,
    ):
        """As `SobolevModel.compile`; by default with the losses, weights and metrics of 4.2.

        loss: [of the policy, of its gradient]; the default is [PolicyDivergence, Norm].
        loss_weights: the default is [1, alpha]; with a schedule for α: [1, schedule].
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
            **kwargs,
        )

    def adapt(self, *args, **kwargs):
        raise ValueError("log-policies are not z-scored: PolicyDistiller takes no adapt.")

    def call(self, x, training=None):
        """log π [B,A]."""
        return super().call(self._cast(x), training)

    def _step(self, data, training):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        _, y = labels.structured(x, y, None, self.order)
        if "value" in y:
            y["value"] = log_policy(y["value"])
        return super()._step((x, y, sample_weight), training)

    def _asked(self, given, training):
        """Stored logits spare the teacher's run, but where its gradients are learned from."""
        if not (training and self.order):
            return super()._asked(given, training)
        if self.target is None:
            raise ValueError(
                f"alpha={self.alpha} learns from a teacher's input gradients, and there is no "
                "teacher: give one (after loading: model.target = ...), or alpha=0."
            )
        return labels.names(self.order)

    def _net_at(self, x, training):
        net = super()._net_at(x, training)
        return lambda point: log_policy(net(point))

    def _target_at(self, x):
        teacher = super()._target_at(x)
        return lambda point: log_policy(teacher(point))

    def _cast(self, x):
        """Bytes are frames; other integers stay an error."""
        if self.frames and not isinstance(x, dict | list | tuple):
            x = tf.convert_to_tensor(x)
            x = x if x.dtype.is_floating else tf.cast(x, keras.config.floatx())
        return super()._cast(x)

    def _specs(self):
        if not self.frames:
            return super()._specs()
        return [tf.TensorSpec(spec.shape, tf.uint8, spec.name) for spec in super()._specs()]

    def _served(self, tensors):
        return super()._served([self._cast(each) for each in tensors])

    def get_config(self):
        config = super().get_config()
        for fixed in ("order", "projection", "contraction", "wrt"):
            config.pop(fixed)
        own = {name: getattr(self, name) for name in ("alpha", "divergence", "frames")}
        return {"teacher": config.pop("target"), **config, **own}


def _frozen(teacher):
    """The teacher as a target: models become `targets.Teacher`."""
    models = (keras.layers.Layer, str, os.PathLike)
    if isinstance(teacher, targets.Teacher) or not (
        isinstance(teacher, models) or hasattr(teacher, "signatures")
    ):
        return teacher
    return targets.Teacher(teacher)


def _differ(y_true, y_pred):
    return tf.cast(tf.argmax(y_true, -1) != tf.argmax(y_pred, -1), tf.float32)
