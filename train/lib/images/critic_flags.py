"""The flags of the critics: what they learn, how many updates they take, and at what rate."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
from absl import flags

import sobolev_tf as st
from train.lib.run.settings import Settings

GRADIENT_LOSSES: dict[str, Callable[[], keras.losses.Loss]] = {
    "l1": st.losses.L1Norm,
    "mae": functools.partial(st.losses.L1Norm, over="mean"),
    "norm": st.losses.Norm,
    "squared": st.losses.SquaredNorm,
    "relative": st.losses.RelativeNorm,
}
# The flags of `define`, and two of train.cifar10: of the critics' size, and their start.
NAMES = frozenset(
    {"critic_learning_rate", "gradient_target", "gradient_loss", "gradient_weight", "label_weight"}
    | {"critic_updates", "critic_steps", "critic_batch", "derivative_share"}
    | {"critic_width_multiplier", "direct_init"}
)
OF_GRADIENTS = frozenset(
    {"gradient_target", "gradient_loss", "gradient_weight", "derivative_share"}
)


def define(own: Mapping[str, flags.FlagValues]) -> None:
    """Define the flags, with the keyword arguments `own` of absl's functions."""
    flags.DEFINE_float(
        "critic_learning_rate",
        None,
        "Constant learning rate of the critics' Adam; --schedule does not change it.",
        0.0,
        **own,
    )
    flags.DEFINE_enum(
        "gradient_target",
        None,
        ["bootstrapped", "true"],
        "The gradient that critics learn. bootstrapped: the one from the next stage, which is "
        "synthetic except at the last cut. true: the one of full backpropagation.",
        **own,
    )
    flags.DEFINE_enum(
        "gradient_loss",
        "l1",
        list(GRADIENT_LOSSES),
        "Distance between the synthetic gradient and its target. "
        "l1: the sum of absolute differences over h, as in the paper. "
        "mae: their mean over h, as the authors may have taken it. "
        "norm: the Euclidean norm. "
        "squared: the squared norm. "
        "relative: the norm over the target's norm.",
        **own,
    )
    flags.DEFINE_float(
        "gradient_weight",
        1.0,
        "Weight of --gradient_loss, for --method=sobolev, vfbn or direct.",
        0.0,
        **own,
    )
    flags.DEFINE_float(
        "label_weight",
        0.0,
        "Weight of the difference of dm/dy and dL/dy, over all classes (SM 4.1), in the critics' "
        "loss.",
        0.0,
        **own,
    )
    flags.DEFINE_enum(
        "critic_updates",
        "sequential_async",
        st.synthetic.CRITIC_UPDATES,
        "How critics learn from several replicas. sync: from the average of their gradients. "
        "sequential_async: from one replica after another.",
        **own,
    )
    flags.DEFINE_integer(
        "critic_steps",
        1,
        "Updates of the critics for each update of the network, over all replicas; the paper has "
        "one from each of 10 or 34 workers.",
        1,
        **own,
    )
    flags.DEFINE_integer(
        "critic_batch",
        None,
        "Images in each of the --critic_steps, taken in turn from the batch; the paper has 32. "
        "Default: all.",
        1,
        **own,
    )
    flags.DEFINE_float(
        "derivative_share",
        1.0,
        "Share of the images whose gradients critics learn at an update; below 1, a step costs "
        "less and is noisier.",
        0.001,
        1.0,
        **own,
    )


def without_effect(settings: Settings, num_cuts: int) -> list[str]:
    """Return the flags of critics that were typed and that the method does not use.

    They are not refused: Table 1 is one command with several methods.
    """
    unused = unused_by(settings.method) if num_cuts else NAMES
    return [f"--{name}" for name in sorted(settings.typed & unused)]


def unused_by(method: str) -> frozenset[str]:
    """Return the flags of critics that a method does not use.

    >>> "gradient_loss" in unused_by("critic"), "gradient_loss" in unused_by("sobolev")
    (True, False)
    """
    if method not in st.synthetic.CRITIC_METHODS:
        return NAMES
    unused = OF_GRADIENTS if method == "critic" else frozenset()
    return unused if method == "direct" else unused | {"direct_init"}


def compile_options(settings: Settings) -> dict[str, Any]:
    """Return what `st.DecoupledModel.compile` takes for the critics."""
    gradient_loss = GRADIENT_LOSSES[settings.gradient_loss]()
    return {
        "critic_losses": (st.losses.L1Norm(), gradient_loss),
        "critic_loss_weights": (1.0, settings.gradient_weight),
        "label_weight": settings.label_weight,
        "critic_updates": settings.critic_updates,
        "critic_steps": settings.critic_steps,
        "critic_batch": settings.critic_batch,
        "derivative_share": settings.derivative_share,
    }
