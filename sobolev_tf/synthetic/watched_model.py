"""Keras's `fit` and `evaluate`, with data that is checked and weights that are watched."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.keras_support import arrays, fit_arguments, options
from sobolev_tf.keras_support.graph_errors import no_rows_refused, refuse_no_results
from sobolev_tf.keras_support.strategies import DistributedModel
from sobolev_tf.keras_support.watched_data import WatchedData
from sobolev_tf.synthetic import gate


class WatchedModel(DistributedModel):
    """A model of stages and critics whose training stops if a weight or a loss is not finite."""

    stages: list
    critics: Any

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as in Keras.

        Args:
          x, y, *args, **kwargs: as in Keras.

        Raises:
          ValueError: arrays or batches differ in their numbers of rows, numbers are not finite, or
            weights are negative.
          FloatingPointError: a loss or a weight is not finite; the error names the stage.
        """
        caller = "DecoupledModel.fit"
        passed = _passed(caller, super().fit, x, y, *args, **kwargs)
        fit_arguments.check(caller, self, passed)
        frequency = passed.get("validation_freq", 1)
        passed["validation_freq"] = fit_arguments.validation_epochs(caller, frequency)
        passed["shuffle"] = fit_arguments.shuffle_of(passed.get("shuffle"), passed["x"])
        data = _check("DecoupledModel.fit", passed)
        self._refuse_no_classes(caller, passed.get("y"))
        streams = [data]
        validation = passed.get("validation_data")
        if isinstance(validation, tuple | list):
            parts = arrays.parts(f"{caller}, validation", validation)
            parts = _from_lists(f"{caller}, validation", *parts)
            if arrays.are_arrays(parts[0]):
                checked = gate.check("DecoupledModel.fit, validation", *parts)
                passed["validation_data"] = checked[: len(validation)]
                self._refuse_no_classes(f"{caller}, validation", checked[1])
        elif validation is not None:
            arrays.from_lists(caller, "validation_data", validation)
            streams.append(gate.stream("DecoupledModel.fit, validation", validation))
            passed["validation_data"] = streams[-1].data
        callbacks = passed.get("callbacks")
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            stop = gate.StopAtLostStage(self.stages, self.critics)
            passed["callbacks"] = [stop, *keras.tree.flatten(callbacks or [])]
        try:
            return super().fit(**passed)
        except (tf.errors.OpError, StopIteration, ValueError) as error:
            for stream in streams:
                stream.reraise(error)
            raise

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Compute the loss and metrics as in Keras; data is checked as in `fit`."""
        if kwargs.get("_use_cached_eval_dataset"):  # `fit` has checked it
            return super().evaluate(x, y, *args, **kwargs)
        passed = _passed("DecoupledModel.evaluate", super().evaluate, x, y, *args, **kwargs)
        fit_arguments.check("DecoupledModel.evaluate", self, passed)
        data = _check("DecoupledModel.evaluate", passed)
        self._refuse_no_classes("DecoupledModel.evaluate", passed.get("y"))
        try:
            results = super().evaluate(**passed)
            return refuse_no_results("DecoupledModel.evaluate", results)
        except (tf.errors.OpError, StopIteration, ValueError) as error:
            data.reraise(error)
            raise

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the network's outputs as in Keras."""
        passed = _passed("DecoupledModel.predict", super().predict, x, *args, **kwargs)
        fit_arguments.check("DecoupledModel.predict", self, passed)
        passed["x"] = arrays.to_predict(passed["x"])
        with no_rows_refused("DecoupledModel.predict"):
            return super().predict(**passed)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Take one step on arrays as in Keras; they are checked as in `fit`."""
        caller = "DecoupledModel.train_on_batch"
        fit_arguments.check(caller, self, {"class_weight": class_weight})
        checked = gate.check(caller, x, y, sample_weight)
        return super().train_on_batch(*checked, class_weight, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Compute the loss and metrics of arrays as in Keras; they are checked as in `fit`."""
        checked = gate.check("DecoupledModel.test_on_batch", x, y, sample_weight)
        return super().test_on_batch(*checked, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Compute the network's outputs as in Keras; x is checked as in `fit`."""
        x, _, _ = gate.check("DecoupledModel.predict_on_batch", x, None, None)
        return super().predict_on_batch(x)

    def _refuse_no_classes(self, caller, y):
        gate.refuse_no_classes(caller, self.loss, y, self.stages[-1].output_shape)


def _check(caller: str, passed: dict) -> WatchedData:
    """Check x, y and sample_weight among the arguments of `fit`, and put them in Keras's form."""
    if not arrays.are_arrays(passed["x"]):
        if passed.get("y") is not None or passed.get("sample_weight") is not None:
            raise ValueError(
                f"{caller}: a data set gives labels and weights itself, (x, y, weight)."
            )
        data = gate.stream(caller, passed["x"])
        passed["x"] = data.data
        return data
    checked = gate.check(caller, passed["x"], passed["y"], passed.get("sample_weight"))
    passed["x"], passed["y"], passed["sample_weight"] = checked
    return WatchedData(None, lambda batch, number, row: batch, gate.surely_right)


def _passed(caller: str, method: Callable, *args: Any, **kwargs: Any) -> dict:
    """All arguments of a method of Keras by name, lists of numbers as arrays."""
    known = inspect.signature(method).parameters
    options.refuse_unknown(caller, kwargs, method, known=known)
    passed = inspect.signature(method).bind(*args, **kwargs).arguments
    names = ("x", "y", "sample_weight") if "y" in known else ("x",)
    return passed | dict(zip(names, _from_lists(caller, *map(passed.get, names)), strict=True))


def _from_lists(caller: str, x: Any, *labels_and_weights: Any) -> tuple:
    """x, labels and weights, lists of numbers as arrays; text and other things are refused."""
    named = zip(("y", "sample_weight"), labels_and_weights, strict=False)
    rest = [a if a is None else arrays.from_lists(caller, name, a) for name, a in named]
    return (arrays.from_lists(caller, "x", x), *rest)
