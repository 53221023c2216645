"""Attributes of a model that its constructor fixes, and those that may be replaced."""

from typing import Any

from sobolev_tf.keras_support.errors import errors_of
from sobolev_tf.model import arguments
from sobolev_tf.projections import Projection
from sobolev_tf.targets.teacher import Teacher, as_teacher

SETTLED = ("net", "order", "wrt", "equation", "scaling", "alpha", "divergence")


def refuse_replacement(model: Any, name: str, value: Any) -> None:
    """Refuse an attribute that a model would not read again, or of another type.

    A target may be replaced by another, and a projection by another: compiled functions follow.

    Args:
      model: a `SobolevModel` or `PolicyDistiller`.
      name: the attribute that is set.
      value: what it is set to.

    Raises:
      ValueError: for a part that the model was made from, or a value of another type.
    """
    owner, before = type(model).__name__, vars(model)
    if name in SETTLED and name in before and before[name] is not value:
        raise ValueError(
            f"{owner}.{name} is fixed by the constructor: make a new model, as in "
            f"{owner}(net, ...). Layers and weights of the net may still be changed."
        )
    if name in ("projection", "_projection") and name in before:
        both = isinstance(value, Projection) and before[name] is not None
        if not both and value is not before[name]:
            raise ValueError(
                f"{owner}.projection can be replaced by another Projection only: make a new model "
                "for full derivatives, or for a first projection."
            )


def as_target(model: Any, target: Any) -> Any:
    """Return a target as a model holds it: a teacher network as a `Teacher`, which is frozen.

    Args:
      model: a `SobolevModel` or `PolicyDistiller` that has its net.
      target: what `model.target` is set to.

    Raises:
      ValueError: the target is no function of x, or shares weights with the net.
    """
    caller = type(model).__name__ + (".target" if "target" in vars(model) else "")
    with errors_of(caller):
        target = as_teacher(target)
    arguments.refuse_no_target(caller, target)
    if isinstance(target, Teacher):
        target.refuse_shared_weights(caller, model.net)
    return target
