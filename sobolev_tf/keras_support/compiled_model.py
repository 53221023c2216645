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


class CompiledModel(keras.Model):
    """A Keras model with a function for each shape of data, which is never stale."""

    train_function: Any  # Keras's
    test_function: Any
    predict_function: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fingerprint = Fingerprint()

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
        """Drop the compiled functions: they are made anew when they are next called."""
        self.train_function = self.test_function = self.predict_function = None

    def forget_stale_functions(self) -> None:
        """Drop the compiled functions if what they were traced from is no longer the same."""
        if self.built and self._fingerprint.changed(self.traced_from()):
            self.forget_functions()

    def make_train_function(self, force: bool = False) -> None:
        """Make the train function, as Keras does for each shape of data."""
        self.forget_stale_functions()
        if self.train_function is None or force:
            self.train_function = self._in_own_words(self._new_train_function, "fit")

    def make_test_function(self, force: bool = False) -> None:
        """Make the test function, as Keras does for each shape of data."""
        self.forget_stale_functions()
        if self.test_function is None or force:
            self.test_function = self._in_own_words(self._new_test_function, "evaluate")

    def make_predict_function(self, force: bool = False) -> None:
        """Make the predict function, as Keras does for each shape of data."""
        self.forget_stale_functions()
        if self.predict_function is None or force:
            self.predict_function = self._in_own_words(self._new_predict_function, "predict")

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

    def _in_own_words(self, make: Callable[[], Callable], method: str) -> Callable:
        """A compiled function whose errors are one line; its first call may build: noted."""
        caller = f"{type(self).__name__}.{method}"
        function, called = ByShape(make, self.has_open_axes), False

        def run(iterator):
            nonlocal called
            with own_errors(caller, getattr(self, "target", None)):
                results = function(iterator)
            if not called:  # a teacher that it has built is no reason to trace anew
                self._fingerprint.changed(self.traced_from())
                called = True
            return results

        return run
