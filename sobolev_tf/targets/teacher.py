"""A teacher network as a target (section 4.2)."""

from __future__ import annotations

import os
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import require, warn
from sobolev_tf.keras_support.checksums import checksum
from sobolev_tf.keras_support.graph_errors import OneLineLayer
from sobolev_tf.keras_support.net_configs import serialize_net


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Teacher(OneLineLayer):
    """A teacher network (section 4.2), frozen and in inference mode.

    Sets `model.trainable = False`. The teacher's weights and BatchNormalization statistics are
    never updated, even if the student's `trainable` is set.

    A Keras teacher is saved with the student. For the path of a SavedModel, the path is saved;
    since a SavedModel is code, Keras loads such a student only with safe_mode=False. A SavedModel
    that was passed loaded is not saved.

    Args:
      model: a Keras model; or a SavedModel, as its path or as `tf.saved_model.load` returns it. Its
        signature "serving_default" is called, with x in that signature's dtype.
      output: the output to learn from, if there are several: its name, or its index in a list.

    Raises:
      ValueError: there is no SavedModel, it takes several inputs, or it has no such output.

    Example:

    >>> Teacher(keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])).trainable_weights
    []
    """

    def __init__(self, model: Any, output: str | int | None = None, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        if isinstance(model, str | os.PathLike):
            try:
                model = keras.layers.TFSMLayer(os.fspath(model), call_endpoint="serving_default")
            except OSError as error:
                raise ValueError(
                    f"Teacher found no SavedModel at {model}: give a directory that `export` "
                    "wrote, or, for a .keras file, what keras.models.load_model returns."
                ) from error
        frozen = []
        if isinstance(model, keras.layers.Layer):
            frozen = [id(variable) for variable in model.trainable_variables]
            model.trainable = False
        elif not hasattr(model, "signatures"):
            raise ValueError(
                "Teacher takes a Keras model, or a SavedModel as its path or loaded; got "
                f"{require.shown(model)}."
            )
        self.model, self.output_name = model, output
        self._drawn: int | None = None
        self._frozen_here = frozenset(frozen)
        self._serve = _endpoint(model)
        if self._serve is not None:  # raises now what `call` would raise later
            _choose(self._serve.structured_outputs, output)

    def refuse_shared_weights(self, caller: str, net: keras.Model) -> None:
        """Raise an error if the student has weights that were frozen with the teacher.

        Args:
          caller: the class that the error names.
          net: the student.

        Raises:
          ValueError: names the first shared weight that was trainable before.
        """
        for variable in net.variables:
            if id(variable) in self._frozen_here:
                raise ValueError(
                    f"{caller}: the net shares {variable.path!r} with its teacher, which froze it: "
                    "give the teacher a copy, as keras.models.clone_model and set_weights make it."
                )

    @property
    def trainable(self) -> bool:
        """Whether the teacher can be trained: always False."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        """Ignore the value: the student's setter sets `trainable` of all layers below it."""

    def build(self, input_shape: Any) -> None:
        """Build the teacher if it is a Keras model that is not built yet."""
        if self._serve is None and not self.model.built:
            self.model.build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Compute the chosen output [B,*out] at x [B,*in]."""
        if self._serve is None:
            return _choose(self.model(x, training=False), self.output_name)
        [spec] = keras.tree.flatten(self._serve.structured_input_signature)
        return _choose(self._serve(tf.cast(x, spec.dtype)), self.output_name)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "model": serialize_net(self.model),
            "output": self.output_name,
        }

    @classmethod
    def from_config(cls, config: dict) -> Teacher:
        model = keras.saving.deserialize_keras_object(config["model"])
        if not isinstance(model, keras.layers.Layer):  # a path would bypass safe_mode
            raise ValueError(f"Teacher's configuration holds {model!r}, expected a Keras model.")
        teacher = cls(**{**config, "model": model})
        teacher._drawn = teacher._checksum()
        return teacher

    def load_own_variables(self, store: Any) -> None:
        """Load as Keras does; a file has the teacher's weights."""
        super().load_own_variables(store)
        self._drawn = None

    def warn_of_drawn_weights(self, caller: str) -> None:
        """Warn, once, if the weights are still those that `from_config` drew.

        A configuration has no weights. `keras.models.clone_model` copies a student by it, and
        `set_weights` of the student sets the student's own.

        Args:
          caller: the method that the warning names.
        """
        if self._drawn is None:
            return
        drawn, self._drawn = self._drawn == self._checksum(), None
        if drawn:
            warn.at_users_line(
                f"{caller}: the teacher has the random weights of its configuration: copy those of "
                "the original, as in model.target.set_weights(original.target.get_weights())."
            )

    def _checksum(self):
        """Of a Keras model's weights; None without weights."""
        variables = self.weights if self._serve is None else []
        return checksum(variables) if variables else None


def as_teacher(target: Any) -> Any:
    """Return a Keras model or a SavedModel, as its path or loaded, as a `Teacher`.

    Anything else is returned as it is, also a layer that has a method `jet`.

    Example:

    >>> as_teacher(keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])).trainable
    False
    """
    if isinstance(target, Teacher) or hasattr(target, "jet"):
        return target
    layer_or_path = isinstance(target, keras.layers.Layer | str | os.PathLike)
    return Teacher(target) if layer_or_path or hasattr(target, "signatures") else target


def _endpoint(model: Any) -> Any:
    """The function of a SavedModel that is called with x, or None for a Keras model."""
    if isinstance(model, keras.layers.TFSMLayer):
        fn = model.call_endpoint_fn
        fn = getattr(fn, "concrete_functions", [fn])[0]
    elif hasattr(model, "signatures"):
        fn = model.signatures.get("serving_default")
    else:
        return None
    inputs = fn and keras.tree.flatten(fn.structured_input_signature)
    if not fn or len(inputs) != 1:
        got = f"the inputs {[t.name for t in inputs]}" if fn else list(model.signatures)
        raise ValueError(f'Teacher takes a signature "serving_default" of one input, got {got}.')
    return fn


def _choose(outputs: Any, output: str | int | None) -> tf.Tensor:
    """The output that `output` names, or the only one."""
    if not isinstance(outputs, dict):
        outputs = dict(enumerate(outputs if isinstance(outputs, list | tuple) else [outputs]))
    if output is None and len(outputs) == 1:
        [output] = outputs
    if output not in outputs:
        raise ValueError(
            f"Teacher has the outputs {sorted(outputs, key=str)}: choose one, got {output=}."
        )
    return outputs[output]
