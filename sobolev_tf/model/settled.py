"""What a model is made from, which nobody can replace afterwards, and what can be replaced."""

from typing import Any

from sobolev_tf.model import arguments
from sobolev_tf.projections import Projection

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
            f"{owner}.{name} is settled by the constructor: make a new model, as in "
            f"{owner}(net, ...); layers and weights of the net may change."
        )
    if name == "target" and name in before:
        arguments.refuse_no_target(f"{owner}.target", value)
    if name in ("projection", "_projection") and name in before:
        both = isinstance(value, Projection) and before[name] is not None
        if not both and value is not before[name]:
            raise ValueError(
                f"{owner}.projection can be replaced by another Projection only: make a new model "
                "for full derivatives, or for a first projection."
            )
