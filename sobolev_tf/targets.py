"""Where true jets come from: given arrays, a differentiable function, a teacher, a black box.

A live target (Function, Teacher) is a callable x [B,*in] -> [B,*out] that `jets` differentiates
inside the training step; one that has a method `jet` (FiniteDifferences) answers derivatives
itself. A Table holds labels that were computed beforehand.
"""

import dataclasses
import functools
import os
import sys

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import jets
from sobolev_tf.differences import FiniteDifferences
from sobolev_tf.keras_support import batching

__all__ = ["FiniteDifferences", "Function", "Table", "Teacher", "serialize", "tabulate"]


@dataclasses.dataclass(frozen=True)
class Table:
    """Points x [B,*in] with their labels (y, d1, ..., dJ), kept together in one order.

    Raises ValueError where the numbers of rows differ.

    >>> table = Table(np.zeros([4, 2]), np.zeros([4, 1]), np.zeros([4, 1, 2]))
    >>> [len(a) for a in (table.x, *table.labels)]
    [4, 4, 4]
    """

    x: np.ndarray
    labels: tuple

    def __init__(self, x, *labels):
        names = ["x", "y", *(f"d{j}" for j in range(1, len(labels)))]
        rows = {name: len(a) for name, a in zip(names, (x, *labels), strict=True)}
        if len(set(rows.values())) > 1:
            raise ValueError(f"Table needs as many rows in every array, got {rows}.")
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "labels", labels)

    def dataset(self, batch_size: int, seed: int = 0) -> tf.data.Dataset:
        """Shuffled full batches without end: give `fit` a steps_per_epoch.

        Small tables train many times faster this way than as arrays, where every pass over the
        table is an epoch of its own.

        >>> x, (y,) = next(iter(Table(np.zeros([4, 2]), np.zeros([4, 1])).dataset(3)))
        >>> x.shape, y.shape
        (TensorShape([3, 2]), TensorShape([3, 1]))
        """
        return batching.batches((self.x, self.labels), batch_size, seed=seed)


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Function:
    """A differentiable function of TensorFlow operations, x [B,*in] -> [B,*out].

    Saved with a model only if registered with keras.saving.register_keras_serializable;
    otherwise set `model.target` again after loading.

    >>> Function(lambda x: x**2)(tf.constant([3.0])).numpy().tolist()
    [9.0]
    """

    def __init__(self, fn):
        self.fn = fn

    def __call__(self, x):
        return tf.convert_to_tensor(self.fn(x))

    def get_config(self):
        return {"fn": keras.saving.serialize_keras_object(self.fn)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["fn"]))


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Teacher(keras.layers.Layer):
    """A network that teaches (section 4.2): frozen, in inference mode, saved with the student.

    model: a Keras model, or a SavedModel: its path, or what tf.saved_model.load returned, which
        answers by its signature "serving_default" and takes x in that signature's dtype.
    output: the name of the output that teaches (in a list, its number), if there are several.

    Freezing is `model.trainable = False` on the model that is given; its weights and its
    BatchNormalization statistics are never updated, even if the student's `trainable` is set.
    Of a SavedModel, its path is saved with the student, and since a SavedModel is code, Keras
    loads that student with safe_mode=False alone. One that was given loaded is not saved.

    Raises ValueError where there is no SavedModel, or not one input and one output to choose.

    >>> Teacher(keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])).trainable_weights
    []
    """

    def __init__(self, model, output=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if isinstance(model, str | os.PathLike):
            try:
                model = keras.layers.TFSMLayer(os.fspath(model), call_endpoint="serving_default")
            except OSError as error:
                raise ValueError(
                    f"Teacher found no SavedModel at {model}: give a directory that `export` "
                    "wrote, or, for a .keras file, what keras.models.load_model returns."
                ) from error
        if isinstance(model, keras.layers.Layer):
            model.trainable = False
        self.model, self.output_name = model, output
        self._serve = _endpoint(model)
        if self._serve is not None:
            _one(self._serve.structured_outputs, output)  # refuse now what `call` would

    @property
    def trainable(self):
        return False

    @trainable.setter
    def trainable(self, value):
        """Stays frozen: the student's setter reaches down to here."""

    def build(self, input_shape):
        if self._serve is None and not self.model.built:
            self.model.build(input_shape)

    def call(self, x):
        if self._serve is None:
            return _one(self.model(x, training=False), self.output_name)
        [spec] = keras.tree.flatten(self._serve.structured_input_signature)
        return _one(self._serve(tf.cast(x, spec.dtype)), self.output_name)

    def get_config(self):
        return {
            **super().get_config(),
            "model": serialize_net(self.model),
            "output": self.output_name,
        }

    @classmethod
    def from_config(cls, config):
        model = keras.saving.deserialize_keras_object(config["model"])
        if not isinstance(model, keras.layers.Layer):  # a path here would pass by safe_mode
            raise ValueError(f"Teacher's configuration holds {model!r}, expected a Keras model.")
        return cls(**{**config, "model": model})


def tabulate(target, x, order: int = 1, batch_size: int = 1024, verbose="auto") -> tuple:
    """The target's labels at x [B,*in] as NumPy arrays: (y [B,*out], d1 [B,*out,*in], ...).

    A target with a method `jet` answers by it. Any other is differentiated, compiled where there
    are several batches and it can be traced (without AutoGraph, as in `fit`).

    verbose: of several batches, 1 shows the progress, 0 does not, "auto" does on a terminal.

    Raises ValueError for x that is not one array with a batch axis.

    >>> y, dy = tabulate(Function(lambda x: x**2), np.array([[3.0]]))
    >>> dy.tolist()
    [[[6.0]]]
    """
    if isinstance(x, dict | list | tuple) or np.ndim(x) == 0:
        raise ValueError(
            f"tabulate takes one array x [B,*in], got a {type(x).__name__}: join several inputs "
            "into one array, or wrap the target in a function that takes them apart."
        )
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1, got {batch_size}.")
    x = jets.as_differentiable(x)
    starts = range(0, max(len(x), 1), batch_size)
    several = len(starts) > 1
    if hasattr(target, "jet"):
        jet = functools.partial(target.jet, order=order)
    else:
        jet = functools.partial(jets.jet, target, order=order)
        jet = _traced(jet, x) if several else jet
    shown = sys.stdout.isatty() if verbose == "auto" else verbose
    bar = keras.utils.Progbar(len(starts), verbose=int(shown) * several, unit_name="batch")
    parts = []
    for done, i in enumerate(starts, 1):
        parts.append(jet(x[i : i + batch_size]))
        bar.update(done)
    terms = zip(*((p.value, *p.derivatives) for p in parts), strict=True)
    return tuple(map(np.concatenate, terms))


def serialize(target):
    """The target's configuration for a saved model, or None for code that is not registered."""
    code = target.fn if isinstance(target, Function) else target
    registered = code in keras.saving.get_custom_objects().values()
    teacher = isinstance(target, Teacher) and isinstance(target.model, keras.layers.Layer)
    return keras.saving.serialize_keras_object(target) if teacher or registered else None


def serialize_net(net):
    """A net's configuration without what it was compiled with: it is trained from outside."""
    config = keras.saving.serialize_keras_object(net)
    config.pop("compile_config", None)
    return config


def _traced(jet, x):
    """jet, compiled for any number of rows where it can be traced."""
    try:
        spec = tf.TensorSpec([None, *x.shape[1:]], x.dtype)
        return tf.function(jet, autograph=False).get_concrete_function(spec)
    except Exception:  # whatever tracing refuses: a fault of the target is raised again eagerly
        return jet


def _endpoint(model):
    """What a SavedModel answers x with, or None for a Keras model."""
    if isinstance(model, keras.layers.TFSMLayer):
        fn = model.call_endpoint_fn
        fn = getattr(fn, "concrete_functions", [fn])[0]
    elif hasattr(model, "signatures"):
        fn = model.signatures.get("serving_default")
    else:
        return None
    inputs = fn and keras.tree.flatten(fn.structured_input_signature)
    if not fn or len(inputs) != 1:
        found = f"the inputs {[t.name for t in inputs]}" if fn else list(model.signatures)
        raise ValueError(f'Teacher takes a signature "serving_default" of one input, got {found}.')
    return fn


def _one(answer, output):
    """The tensor of an answer that `output` names, or the only one."""
    if not isinstance(answer, dict):
        answer = dict(enumerate(answer if isinstance(answer, list | tuple) else [answer]))
    if output is None and len(answer) == 1:
        [output] = answer
    if output not in answer:
        raise ValueError(
            f"Teacher has the outputs {sorted(answer, key=str)}: choose one, got {output=}."
        )
    return answer[output]
