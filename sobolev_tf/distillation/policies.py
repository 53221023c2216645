"""The KL divergence of policies given as logits [B,A], as a loss and as a metric (section 4.2)."""

from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import jets, require

DIVERGENCES = ("student_teacher", "teacher_student")


def log_policy(logits: tf.Tensor) -> tf.Tensor:
    """Normalize logits [B,A] to log π [B,A], in float32 or wider.

    >>> tf.exp(log_policy(tf.math.log([[1.0, 3.0]]))).numpy().round(4).tolist()
    [[0.25, 0.75]]
    """
    logits = tf.convert_to_tensor(logits)
    if not logits.dtype.is_floating:
        logits = tf.cast(logits, tf.float32)
    return tf.nn.log_softmax(jets.at_least_float32(logits))


def kl(log_p: tf.Tensor, log_q: tf.Tensor) -> tf.Tensor:
    """Compute D_KL(p ‖ q) = Σ_a p(a) (log p(a) - log q(a)), with 0 log 0 = 0.

    Actions that p masks (log p = -inf) do not count and have no gradient. If q masks an action that
    p may take, the divergence is infinite.

    Args:
      log_p: log-policy [B,A].
      log_q: log-policy [B,A].

    Returns:
      [B], in nats.

    Raises:
      ValueError: the policies have different shapes.

    Example:

    >>> p, q = tf.math.log([[0.5, 0.5]]), tf.math.log([[0.25, 0.75]])
    >>> round(float(kl(p, q)[0]), 4), round(float(kl(q, p)[0]), 4)
    (0.1438, 0.1308)
    """
    log_p, log_q = tf.convert_to_tensor(log_p), tf.convert_to_tensor(log_q)
    if not log_p.shape.is_compatible_with(log_q.shape):
        raise ValueError(
            f"kl: log_p has shape {list(log_p.shape)}, and log_q {list(log_q.shape)}, expected the "
            "same shape [B,A]."
        )
    never = tf.math.is_inf(log_p) & (log_p < 0)
    log_p, log_q = (tf.where(never, tf.zeros_like(t), t) for t in (log_p, log_q))
    return tf.reduce_sum(tf.where(never, tf.zeros_like(log_p), tf.exp(log_p)) * (log_p - log_q), -1)


@keras.saving.register_keras_serializable(package="sobolev_tf")
class PolicyDivergence(keras.losses.Loss):
    """The KL divergence of two policies, given as logits [B,A], which need not be normalized.

    Args:
      direction: "student_teacher" is D_KL(π ‖ π*), as in section 4.2, where π is the prediction;
        "teacher_student" is D_KL(π* ‖ π).

    Example:

    >>> teacher, student = tf.math.log([[0.5, 0.5]]), tf.math.log([[0.25, 0.75]])
    >>> round(float(PolicyDivergence()(teacher, student)), 4)
    0.1308
    """

    def __init__(
        self, direction: str = "student_teacher", name: str = "policy_divergence", **kwargs: Any
    ):
        super().__init__(name=name, **kwargs)
        self.direction = require.one_of("PolicyDivergence", "direction", direction, DIVERGENCES)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Compare the teacher's logits y_true and the student's y_pred [B,A]: [B]."""
        teacher, student = log_policy(y_true), log_policy(y_pred)
        if self.direction == "student_teacher":
            return kl(student, teacher)
        return kl(teacher, student)

    def get_config(self) -> dict:
        return {**super().get_config(), "direction": self.direction}


@keras.saving.register_keras_serializable(package="sobolev_tf")
class KL(keras.metrics.MeanMetricWrapper):
    """The mean KL divergence of policies given as logits [B,A].

    Args:
      direction: as in `PolicyDivergence`.

    Example:

    >>> metric = KL()
    >>> metric.update_state(tf.math.log([[0.5, 0.5]]), tf.math.log([[0.25, 0.75]]))
    >>> round(float(metric.result()), 4)
    0.1308
    """

    def __init__(self, direction: str = "student_teacher", name: str = "kl", **kwargs: Any):
        super().__init__(PolicyDivergence(direction).call, name=name, **kwargs)
        self.direction = direction

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype, "direction": self.direction}


@keras.saving.register_keras_serializable(package="sobolev_tf")
class ActionError(keras.metrics.MeanMetricWrapper):
    """The share of rows in which two policies [B,A] have different most probable actions.

    >>> metric = ActionError()
    >>> metric.update_state(tf.constant([[1.0, 2.0], [2.0, 1.0]]), tf.constant([[0.0, 5.0]] * 2))
    >>> float(metric.result())
    0.5
    """

    def __init__(self, name: str = "action_error", **kwargs: Any):
        super().__init__(_actions_differ, name=name, **kwargs)

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}


def _actions_differ(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.argmax(y_true, -1) != tf.argmax(y_pred, -1), tf.float32)
