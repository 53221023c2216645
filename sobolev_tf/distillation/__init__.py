"""Distillation: a student learns a teacher's policy and its input gradients (section 4.2)."""

from sobolev_tf.distillation.policies import (
    DIVERGENCES,
    KL,
    ActionError,
    PolicyDivergence,
    kl,
    log_policy,
)
from sobolev_tf.distillation.policy_distiller import PolicyDistiller

__all__ = [
    "DIVERGENCES",
    "KL",
    "ActionError",
    "PolicyDistiller",
    "PolicyDivergence",
    "kl",
    "log_policy",
]
