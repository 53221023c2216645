"""Fingerprints of what compiled functions were traced from, to notice layers that have changed.

A trace keeps the layers, variables and Python settings that it was made from. It does not notice
LoRA, quantization, another dtype policy, `trainable`, a replaced layer or a setting of the model.
So a model's functions are compiled again when one of these has changed.
"""

from collections.abc import Iterable
from typing import Any

import keras

# Attributes that training a net by itself sets; no trace of the net as a part depends on them.
_OF_TRAINING = frozenset(
    [
        "auto_scale_loss",
        "built",
        "compiled",
        "history",
        "jit_compile",
        "loss",
        "loss_weights",
        "metrics",
        "optimizer",
        "predict_function",
        "run_eagerly",
        "steps_per_execution",
        "stop_training",
        "test_function",
        "train_function",
        "weighted_metrics",
    ]
)


class Fingerprint:
    """The parts from which functions were last traced.

    Example:

    >>> net, fingerprint = keras.Sequential([keras.Input([3])]), Fingerprint()
    >>> net.add(keras.layers.Dense(2))
    >>> fingerprint.changed(parts_of([net])), fingerprint.changed(parts_of([net]))
    (False, False)
    >>> net.layers[0].trainable = False
    >>> fingerprint.changed(parts_of([net]))
    True
    """

    def __init__(self) -> None:
        self._parts: list | None = None

    def changed(self, parts: list) -> bool:
        """Tell whether parts differ from those of the last call; the first call has no last one."""
        before, self._parts = self._parts, parts
        if before is None:
            return False
        alike = len(before) == len(parts)
        return not (alike and all(map(_same, before, parts)))


def parts_of(nets: Iterable[Any], *settings: Any) -> list:
    """List what a trace of nets depends on: layers, their variables and settings, and more.

    Only references and numbers are read, which takes microseconds for each layer.

    Args:
      nets: Keras layers and models; anything else is treated as a setting.
      settings: objects, compared by identity, and numbers and strings, compared by value.
    """
    parts = list(settings)
    for net in nets:
        if not isinstance(net, keras.layers.Layer):
            parts.append(net)
            continue
        if not net.built:  # building it changes everything else
            continue
        for layer in net._flatten_layers():
            parts += [layer, layer.dtype_policy.name, layer.trainable]
            for name, value in vars(layer).items():
                if not name.startswith("_") and name not in _OF_TRAINING:
                    parts.append(value)
        parts += net.variables
        parts += [len(net.trainable_variables), *net.trainable_variables]
    return parts


def _same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, bool | int | float | str) and type(a) is type(b) and a == b)
