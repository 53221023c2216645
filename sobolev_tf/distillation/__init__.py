"""A student policy that matches its teacher's, and its slopes (section 4.2)."""

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
