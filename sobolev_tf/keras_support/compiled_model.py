"""CompiledModel: a Keras model whose compiled functions fit its layers and the data at hand.

Keras compiles a function once. Here it is compiled anew where layers or settings have changed, and
where data have other axes; and its errors are one line.
"""

from collections.abc import Callable
from typing import Any

import keras

from sobolev_tf.keras_support import multi_step
from sobolev_tf.keras_support.by_shape import ByShape
from sobolev_tf.keras_support.fingerprint import Fingerprint
from sobolev_tf.keras_support.graph_errors import own_errors


class CurrentFunction:
    """A train, test or predict function of Keras's that is never stale.

    It is made anew for data of other axes, and where what it was traced from has changed. It looks
    at every new iterator: a callback may freeze a layer between two epochs.

    Args:
      make: returns a new function of `ArrayBatches` or of an iterator over batches.
      model: the model; errors name it and its method.
      method: the method that calls the function.
    """

    def __init__(self, make: Callable[[], Callable], model: "CompiledModel", method: str) -> None:
        self._make, self._model = make, model
        self._caller = f"{type(model).__name__}.{method}"
        self.forget()

    def forget(self) -> None:
        """Make the function anew when it is next called."""
        self._function = ByShape(self._make, self._model.has_open_axes)
        self._fingerprint, self._called = Fingerprint(), False

    def __call__(self, iterator: Any) -> Any:
        is_new = not self._function.had(iterator)
        if is_new and self._fingerprint.changed(self._model.traced_from()):
            self.forget()
        with own_errors(self._caller, getattr(self._model, "target", None)):
            results = self._function(iterator)
        if not self._called:  # what the first call has built, such as a teacher, is no change
            self._fingerprint.changed(self._model.traced_from())
            self._called = True
        return results


class CompiledModel(keras.Model):
    """A Keras model with a function for each shape of data, which is never stale."""

    train_function: Any  # Keras's
    test_function: Any
    predict_function: Any

    def traced_from(self) -> list:
        """List what the compiled functions depend on, see `fingerprint.parts_of`."""
        return []

    def has_open_axes(self) -> bool:
        """Tell whether the net takes axes of any size beside the rows."""
        return False

    def known_outputs(self) -> tuple:
        """Return the shape *out of a row's outputs; () while it is not known."""
        return ()

    def forget_functions(self) -> None:
        """Forget the compiled functions: they are made anew when they are next called."""
        for function in (self.train_function, self.test_function, self.predict_function):
            if function is not None:
                function.forget()

    def make_train_function(self, force: bool = False) -> None:
        """Make the train function, as Keras does for each shape of data."""
        if self.train_function is None or force:
            self.train_function = CurrentFunction(self._new_train_function, self, "fit")

    def make_test_function(self, force: bool = False) -> None:
        """Make the test function, as Keras does for each shape of data."""
        if self.test_function is None or force:
            self.test_function = CurrentFunction(self._new_test_function, self, "evaluate")

    def make_predict_function(self, force: bool = False) -> None:
        """Make the predict function, as Keras does for each shape of data."""
        if self.predict_function is None or force:
            self.predict_function = CurrentFunction(self._new_predict_function, self, "predict")

    def _new_train_function(self) -> Callable:
        """Keras's train function; under XLA, one call's steps are one program."""
        function = self._of_keras("train_function", keras.Model.make_train_function)
        compiled = self.jit_compile and not self.run_eagerly
        if compiled and self.steps_per_execution > 1 and self._distribute_strategy is None:
            function = multi_step.fuse_steps(self.train_step, self.steps_per_execution, function)
        return multi_step.over_arrays(self.train_step, compiled, function)

    def _new_test_function(self) -> Callable:
        function = self._of_keras("test_function", keras.Model.make_test_function)
        compiled = self.jit_compile and not self.run_eagerly
        return multi_step.over_arrays(self.test_step, compiled, function)

    def _new_predict_function(self) -> Callable:
        return self._of_keras("predict_function", keras.Model.make_predict_function)

    def _of_keras(self, name: str, make: Callable) -> Callable:
        """A function that Keras makes, which puts it in the place of the model's own."""
        own = getattr(self, name)
        make(self, force=True)
        function = getattr(self, name)
        setattr(self, name, own)
        return function
