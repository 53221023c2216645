"""Sources of true jets: arrays, a differentiable function, a teacher, a black box.

A target is a callable x [B,*in] -> [B,*out]. `Function` and `Teacher` are differentiated inside the
training step; `FiniteDifferences` computes derivatives itself, by its method `jet`. A `Table` holds
labels that were computed beforehand.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from sobolev_tf import jets, require, warn
from sobolev_tf.differences import FiniteDifferences
from sobolev_tf.jets import arguments
from sobolev_tf.keras_support import batching
from sobolev_tf.keras_support.arrays import is_array, plain_array
from sobolev_tf.keras_support.checksums import checksum
from sobolev_tf.keras_support.graph_errors import OneLineLayer
from sobolev_tf.keras_support.progress import progress_bar

__all__ = ["FiniteDifferences", "Function", "Table", "Teacher", "serialize", "tabulate"]


@dataclasses.dataclass(frozen=True)
class Table:
    """Points with their labels, row by row.

    Args:
      x: [B,*in].
      labels: y [B,*out], d1 [B,*out,*in], ..., in that order.

    Raises:
      ValueError: the numbers of rows differ.

    Example:

    >>> table = Table(np.zeros([4, 2]), np.zeros([4, 1]), np.zeros([4, 1, 2]))
    >>> [len(a) for a in (table.x, *table.labels)]
    [4, 4, 4]
    """

    x: np.ndarray
    labels: tuple

    def __init__(self, x: np.ndarray, *labels: Any):
        names = ["x", "y", *(f"d{j}" for j in range(1, len(labels)))]
        named = {
            name: plain_array("Table", name, a, missing=name != "x") if is_array(a) else a
            for name, a in zip(names, (x, *labels), strict=False)
        }
        require.same_rows("Table", named, at_least=0)
        first, *rest = named.values()
        object.__setattr__(self, "x", first)
        object.__setattr__(self, "labels", tuple(rest))

    def dataset(self, batch_size: int, seed: int = 0) -> tf.data.Dataset:
        """Make an endless data set of shuffled, full batches, for `fit` with `steps_per_epoch`.

        Small tables train many times faster this way than as arrays, where every pass over the
        table is an epoch.

        Args:
          batch_size: number of rows in a batch.
          seed: seed of the shuffling.

        Returns:
          A data set of (x, labels).

        Example:

        >>> x, (y,) = next(iter(Table(np.zeros([4, 2]), np.zeros([4, 1])).dataset(3)))
        >>> x.shape, y.shape
        (TensorShape([3, 2]), TensorShape([3, 1]))
        """
        batch_size = require.whole_number("Table.dataset", "batch_size", batch_size, at_least=1)
        require.same_rows("Table.dataset", {"x": self.x})
        data = self.x, self.labels
        return batching.batches(data, batch_size, seed=seed, caller="Table.dataset")


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


def tabulate(
    target: Callable,
    x: ArrayLike,
    order: int = 1,
    batch_size: int = 1024,
    verbose: str | int = "auto",
) -> tuple[np.ndarray, ...]:
    """Compute a target's labels at points, as NumPy arrays.

    A target with a method `jet` computes its own derivatives; any other target is differentiated.
    If there are several batches, the computation is compiled, unless the target cannot be traced.
    AutoGraph is off, as in `fit`.

    Args:
      target: a callable x [B,*in] -> [B,*out]: one of `targets`, or any differentiable function.
      x: one floating array [B,*in].
      order: J, the highest order of derivatives.
      batch_size: number of rows that are computed at a time.
      verbose: 1 shows a progress line if there are several batches, 0 shows none, "auto" shows it
        on a terminal only.

    Returns:
      (y [B,*out], d1 [B,*out,*in], ..., dJ).

    Raises:
      ValueError: x is not one array with a batch axis.

    Example:

    >>> y, dy = tabulate(Function(lambda x: x**2), np.array([[3.0]]))
    >>> dy.tolist()
    [[[6.0]]]
    """
    if isinstance(x, dict | list | tuple) or np.ndim(x) == 0:
        raise ValueError(
            f"tabulate takes one array x [B,*in], got a {type(x).__name__}: join several inputs "
            "into one array, or wrap the target in a function that takes them apart."
        )
    order = require.whole_number("tabulate", "order", order, at_least=0)
    batch_size = require.whole_number("tabulate", "batch_size", batch_size, at_least=1)
    require.function("tabulate", "target", target)
    points = jets.as_differentiable(x, "tabulate: x")
    starts = range(0, max(len(points), 1), batch_size)
    several = len(starts) > 1
    jet: Callable
    if hasattr(target, "jet"):
        jet = functools.partial(target.jet, order=order)
    else:
        jet = functools.partial(jets.jet, target, order=order)
        jet = _traced(jet, points) if several else jet
    bar = progress_bar(len(starts), verbose if several else 0, unit_name="batch")
    parts = []
    for done, i in enumerate(starts, 1):
        parts.append(jet(points[i : i + batch_size]))
        bar.update(done)
    terms = zip(*((p.value, *p.derivatives) for p in parts), strict=True)
    return tuple(map(np.concatenate, terms))


def serialize(target: Any) -> dict | None:
    """Return a target's configuration for a saved model; None for code that is not registered."""
    code = target.fn if isinstance(target, Function) else target
    registered = code in keras.saving.get_custom_objects().values()
    teacher = isinstance(target, Teacher) and isinstance(target.model, keras.layers.Layer)
    return keras.saving.serialize_keras_object(target) if teacher or registered else None


def serialize_net(net: Any) -> dict:
    """Return a net's configuration for a saved model, without the net's own `compile`."""
    config = keras.saving.serialize_keras_object(net)
    config.pop("compile_config", None)
    return config


def _traced(jet: Callable, x: tf.Tensor) -> Callable:
    """`jet`, compiled for any number of rows if it can be traced."""
    try:
        spec = tf.TensorSpec([None, *x.shape[1:]], x.dtype)
        return tf.function(jet, autograph=False).get_concrete_function(spec)
    except Exception:  # whatever tracing raises: if the target is at fault, it raises again eagerly
        return jet


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
