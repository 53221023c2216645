"""What must be computed before an optimizer changes the weights."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def after(loss: tf.Tensor, gradients: Sequence[tf.Tensor | None]) -> Any:
    """Return a context in which operations run after a loss and its gradients.

    Without the loss, a batch that is refused while it is read would still decay the weights.
    Without the gradients, TensorFlow's graph optimizer may let the weights decay before the
    gradients are computed.

    Args:
      loss: the loss of the step.
      gradients: those to apply; None where there is none.
    """
    return tf.control_dependencies([loss, *(g for g in gradients if g is not None)])
