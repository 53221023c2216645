"""What Keras's `fit` and `evaluate` are called with, made of what users pass."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.keras_support import arrays, batching, fit_arguments
from sobolev_tf.keras_support.array_batches import ArrayBatches, on_device, xla_pays
from sobolev_tf.keras_support.callbacks import want_batches
from sobolev_tf.keras_support.watched_data import WatchedData
from sobolev_tf.model import arguments, not_finite
from sobolev_tf.model.contradictions import warn_of_contradictions
from sobolev_tf.model.coupled_rows import warn_of_coupled_rows
from sobolev_tf.model.digits import warn_of_lost_digits
from sobolev_tf.model.gate import Gate
from sobolev_tf.model.input_batches import as_arrays
from sobolev_tf.model.named_arrays import named_arrays
from sobolev_tf.model.sample_weights import beside_labels
from sobolev_tf.model.shape_errors import with_rows


class Feed:
    """The data of one call, checked by the gate and in the net's dtype.

    Args:
      model: an `EquationModel`.
      method: the method that was called, for errors.
      callbacks: those of the call.
      steps: of an evaluation; None for all.
    """

    def __init__(
        self, model: Any, method: str, callbacks: Any = None, steps: int | None = None
    ) -> None:
        self.model, self._callbacks, self._steps = model, callbacks, steps
        self.gate: Gate = model._gate(method)
        self._streams: list[WatchedData] = []
        self._arrays: Any = None
        self.batches: ArrayBatches | None = None  # of arrays to train on
        self.epochs = 1

    def training(
        self, x: Any, y: Any, sample_weight: Any, batch_size: int | None, options: dict
    ) -> dict:
        """Return the arguments of Keras's `fit` for training data.

        Args:
          x, y, sample_weight, batch_size: the user's.
          options: the user's shuffle, class_weight, steps_per_epoch, validation_split,
            validation_data and validation_batch_size.

        Raises:
          ValueError: see `Gate`.
        """
        self._refuse_batch_size(batch_size)
        caller, options = self.gate.caller, dict(options)
        fit_arguments.check(caller, self.model, options)
        x = arrays.from_lists(caller, "x", x)
        are_arrays = arrays.are_arrays(x)
        options["shuffle"] = fit_arguments.shuffle_of(options["shuffle"], x)
        options["class_weight"] = options["class_weight"] or None
        if (validation := options["validation_data"]) is not None:
            size = options["validation_batch_size"] or batch_size
            options["validation_data"] = self._validation(validation, size)
        share = options.pop("validation_split")
        if not are_arrays and share:
            raise ValueError(
                f"{caller}: validation_split splits arrays; a data set has take, skip."
            )
        if not are_arrays and (y is not None or sample_weight is not None):
            raise ValueError(
                f"{caller}: a data set gives labels and weights itself, (x, y, weight)."
            )
        if not are_arrays:
            passed = {"x": self._stream(x), "y": y, "sample_weight": sample_weight}
            return passed | {"batch_size": batch_size} | options
        data = self._arrays = self.gate.arrays(x, y, sample_weight)
        x, named_labels = data[:2]
        self.gate.nothing_to_learn(named_labels)
        self._refuse_class_weight(named_labels, options["class_weight"], options["steps_per_epoch"])
        if self.model._distribute_strategy is None:
            self._build(x)  # a net must be built to be looked at
        warn_of_coupled_rows(caller, self.model, x)
        warn_of_lost_digits(self.model, caller, x, named_labels, self.gate.ranges)
        warn_of_contradictions(self.model, caller, named_labels)
        if share and options["validation_data"] is None:
            data, held_out = batching.split(caller, data, share)
            size = options["validation_batch_size"] or batch_size
            options["validation_data"] = _in_order(self._one_pass(held_out, size))
        if held := self._held(data, batch_size, options):
            return held
        if options["steps_per_epoch"]:
            endless = batching.batches(data, batch_size or 32, options["shuffle"])
            return {"x": endless} | options | {"shuffle": False}
        return self._whole_passes(data, batch_size, options)

    def check_settings(self, settings: dict[str, Any]) -> None:
        """Check what `fit` and `evaluate` take beside data, and weights that follow the step.

        Args:
          settings: Keras's arguments by name.

        Raises:
          ValueError: for an argument of another kind or range, or a model that is not compiled.
        """
        fit_arguments.check(self.gate.caller, self.model, settings)
        self.model.objective.refuse_weights(self.gate.caller, self.model.optimizer.iterations)

    def evaluation(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int | None,
        cached: bool = False,
    ) -> dict:
        """Return x, y, sample_weight and batch_size for Keras's `evaluate` and `validation_data`.

        Args:
          x, y, sample_weight, batch_size: the user's.
          cached: whether `fit` passes on what came from here.

        Raises:
          ValueError: see `Gate`.
        """
        passed = {"x": x, "y": y, "sample_weight": sample_weight, "batch_size": batch_size}
        if cached:
            return passed
        self._refuse_batch_size(batch_size)
        x = passed["x"] = arrays.from_lists(self.gate.caller, "x", x)
        if not arrays.are_arrays(x):
            return passed | {"x": self._stream(x)}
        data = self._arrays = self.gate.arrays(x, y, sample_weight)
        self.gate.nothing_to_learn(data[1], "compare")
        return self._one_pass(data, batch_size)

    def batch(
        self, x: Any, y: Any, sample_weight: Any, class_weight: dict[int, float] | None = None
    ) -> tuple[Any, Any, Any]:
        """Return x, y and sample_weight for one step on arrays.

        Raises:
          ValueError: see `Gate`.
        """
        if class_weight is not None:
            fit_arguments.check(self.gate.caller, self.model, {"class_weight": class_weight})
        x = as_arrays(x, self.gate.caller, self.model.equation.inputs)
        data = self.gate.arrays(x, y, sample_weight)
        self.gate.nothing_to_learn(data[1])
        self._refuse_class_weight(data[1], class_weight)
        if class_weight:
            return _as_keras_takes(data, class_weight)
        return keras.utils.unpack_x_y_sample_weight(data)

    def prediction(self, x: Any, batch_size: int | None) -> dict:
        """Return x and batch_size for Keras's `predict`."""
        x = arrays.from_lists(self.gate.caller, "x", x)
        x = arrays.to_predict(x)
        if isinstance(x, tf.data.Dataset):
            arrays.parts(self.gate.caller, x.element_spec)
        if arrays.are_arrays(x):
            x = self.gate.plain(x)
        if not arrays.are_arrays(x) or not self._is_rounded(x):
            return {"x": x, "batch_size": batch_size}
        return {"x": batching.one_pass((x,), batch_size or 32, shuffle=False)}

    @contextlib.contextmanager
    def explained(self, steps: int | None = None) -> Iterator[None]:
        """Turn errors inside into what the data, or the net, has wrong.

        Args:
          steps: how many batches of a data set are read; None for all.

        Raises:
          ValueError: for data that is not right, and what a generator raises.
          FloatingPointError: for a loss that is not finite, where the data is.
        """
        try:
            yield
        except FloatingPointError as error:
            self.model.objective.refuse_weights(self.gate.caller, self.model.optimizer.iterations)
            if self._arrays is not None:
                not_finite.explain(self.model, not_finite.batches(self._arrays), error)
            elif self._streams:  # the last one is what is trained on
                not_finite.explain(self.model, self._streams[-1].again(steps), error)
            raise
        except (tf.errors.OpError, StopIteration, ValueError) as error:
            if type(error) is ValueError and self._arrays is not None:
                x, y, _ = keras.utils.unpack_x_y_sample_weight(self._arrays)
                text = with_rows(str(error), named_arrays(x, y, None, self.gate.order))
                if text != str(error):
                    raise ValueError(text) from error
            for stream in self._streams:
                stream.reraise(error)
            raise

    def _validation(self, data, batch_size):
        if not isinstance(data, tuple | list):
            return self._stream(arrays.from_lists(self.gate.caller, "validation_data", data))
        self.gate.refuse_derivatives_as_weights(data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        trained = self._arrays
        passed = self.evaluation(x, y, sample_weight, batch_size)
        self._arrays = trained
        return _in_order(passed)

    def _refuse_class_weight(self, named_labels, class_weight, steps_per_epoch=None):
        if class_weight and (list(named_labels) != ["value"] or steps_per_epoch):
            raise ValueError(
                f"{self.gate.caller}: class_weight is for class numbers as the only labels, in "
                "whole passes over them: give sample_weight, a number for each example."
            )

    def _one_pass(self, data, batch_size):
        """Arguments of `evaluate` for what the gate returns of arrays."""
        if batches := self._batches(data, batch_size, singly=self._steps is not None):
            return {"x": batches}
        passed = self._whole_passes(data, batch_size, {"shuffle": False})
        passed.pop("shuffle")
        return passed

    def _held(self, data, batch_size, options):
        """Arguments of `fit` for arrays on the device; None where they go Keras's way."""
        if options["class_weight"] is not None or options["shuffle"] == "batch":
            return None
        settings = {"shuffle": options["shuffle"], "steps": options["steps_per_epoch"]}
        if (batches := self._batches(data, batch_size, training=True, **settings)) is None:
            return None
        self.batches = batches
        size = options["validation_batch_size"] or batch_size
        validation = {"validation_data": options["validation_data"], "validation_batch_size": size}
        return {"x": batches, "shuffle": False} | validation

    def _batches(self, data, batch_size, singly=False, training=False, **settings):
        """Batches of arrays on the device; None where Keras has to make them."""
        if not (per_call := self.model.steps_per_call()):
            return None
        # As Keras, which rounds to float32, but in the dtypes of a float64 net.
        own = settings.get("steps") or self.model.equation.is_float64()
        if (tensors := on_device(data, None if own else keras.config.floatx())) is None:
            return None
        watched = singly or want_batches(self._callbacks) or not self.model.steps_by_time
        settings |= {"steps_per_call": per_call, "watched": watched}
        batches = ArrayBatches(tensors, batch_size or 32, **settings)
        self._build(tensors[0])
        if self.model.jit_compile:
            weights = sum(int(np.prod(v.shape)) for v in self.model.trainable_variables)
            steps = self.epochs * batches.num_batches
            if training:
                steps += int(self.model.optimizer.iterations)
            batches.xla = xla_pays(steps, batches.size, weights)
        return batches

    def _build(self, x):
        self.model.build_for(keras.tree.map_structure(lambda a: a[:1], x), self.gate.caller)

    def _whole_passes(self, data, batch_size, options):
        """Keras's own way from arrays; a data set where Keras would round or lose some."""
        class_weight = options.get("class_weight")
        x, y, sample_weight = _as_keras_takes(data, class_weight)
        keeps = class_weight or not self._has_weights_of_other_structure(data)
        if keeps and not self._is_rounded(data):
            passed = {"x": x, "y": y, "sample_weight": sample_weight, "batch_size": batch_size}
            return passed | options
        if class_weight:
            data = keras.utils.pack_x_y_sample_weight(x, y, sample_weight)
        passes = batching.one_pass(data, batch_size or 32, bool(options["shuffle"]))
        return {"x": passes} | options | {"shuffle": False}

    def _has_weights_of_other_structure(self, data):
        """Keras has weights beside labels: not of a target's, nor of labels that come by input."""
        _, named_labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        by_input = any(keras.tree.is_nested(named_labels.get(name)) for name in weights or ())
        return bool(weights) and (self.gate.target or by_input)

    def _is_rounded(self, structure):
        if keras.config.floatx() == "float64" or not self.model.equation.is_float64():
            return False
        leaves = keras.tree.flatten(structure)
        return any(getattr(leaf, "dtype", None) in (np.float64, tf.float64) for leaf in leaves)

    def _stream(self, data):
        self._streams.append(self.gate.stream(data))
        return self._streams[-1].data

    def _refuse_batch_size(self, batch_size):
        arguments.refuse_labels_as_batch_size(batch_size, self.gate.caller)
        if batch_size is not None:
            require.whole_number(self.gate.caller, "batch_size", batch_size, at_least=1)


def _in_order(passed: dict) -> tuple:
    """Arguments of `evaluate` as the tuple that `fit` takes as validation_data."""
    return tuple(passed[name] for name in ("x", "y", "sample_weight") if name in passed)


def _as_keras_takes(data: tuple, class_weight: Any) -> tuple[Any, Any, Any]:
    """x, labels and weights in one structure; with weights of classes, labels are one array."""
    x, named_labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    if class_weight:
        return x, named_labels["value"], weights and weights["value"]
    return x, named_labels or None, beside_labels(named_labels, weights or {})
