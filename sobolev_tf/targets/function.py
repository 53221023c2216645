"""A differentiable function as a target."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.jets import arguments


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Function:
    """A differentiable function as a target.

    A model is saved with this target only if `fn` is registered with
    `keras.saving.register_keras_serializable`; otherwise set `model.target` again after loading.

    Args:
      fn: a function x [B,*in] -> [B,*out] of TensorFlow operations.

    Example:

    >>> Function(lambda x: x**2)(tf.constant([3.0])).numpy().tolist()
    [9.0]
    """

    def __init__(self, fn: Callable):
        self.fn = require.function("Function", "fn", fn)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Compute fn(x) [B,*out] at x [B,*in]."""
        return arguments.answer("Function", self.fn, x, differentiated=False)

    def get_config(self) -> dict:
        return {"fn": keras.saving.serialize_keras_object(self.fn)}

    @classmethod
    def from_config(cls, config: dict) -> Function:
        return cls(keras.saving.deserialize_keras_object(config["fn"]))
