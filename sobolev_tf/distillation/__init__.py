"""Distillation: a student learns a teacher's policy (section 4.2) or loss (SM 5), with slopes."""

from sobolev_tf.distillation.loss_net import ExampleLoss, loss_net
from sobolev_tf.distillation.offset_net import offset_net
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
    "ExampleLoss",
    "PolicyDistiller",
    "PolicyDivergence",
    "kl",
    "log_policy",
    "loss_net",
    "offset_net",
]
