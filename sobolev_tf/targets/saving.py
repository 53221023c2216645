"""Configurations of targets, as a saved model holds them."""

from typing import Any

import keras

from sobolev_tf.targets.function import Function
from sobolev_tf.targets.teacher import Teacher


def serialize(target: Any) -> dict | None:
    """Return a target's configuration for a saved model; None for code that is not registered."""
    code = target.fn if isinstance(target, Function) else target
    registered = code in keras.saving.get_custom_objects().values()
    teacher = isinstance(target, Teacher) and isinstance(target.model, keras.layers.Layer)
    return keras.saving.serialize_keras_object(target) if teacher or registered else None
