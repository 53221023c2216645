"""Full-batch fits: every step uses all points, weights are one vector, an iteration is an epoch."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.keras_support.graph_errors import own_errors
from sobolev_tf.keras_support.progress import progress_bar
from sobolev_tf.model import not_finite
from sobolev_tf.model.coupled_rows import warn_of_coupled_rows
from sobolev_tf.model.equation_model import EquationModel
from sobolev_tf.model.problem import Problem
from sobolev_tf.model.sobolev import SobolevModel
from sobolev_tf.solvers.callbacks import callback_list


class FullBatch:
    """Context of a full-batch fit of a compiled SobolevModel.

    However the block ends, the model has the weights of the last `end_iteration`.

    Args:
      caller: the public function that errors name.
      model: a compiled `SobolevModel`.
      x, y, sample_weight, callbacks: as for `SobolevModel.fit`.
      iterations: the largest number of iterations.
      verbose: 1 shows a progress line, 0 shows none, "auto" shows it on a terminal only.

    Attributes:
      problem: the loss as a function of the weights.
      last_weights: [N], float64.

    Raises:
      ValueError: the model is not compiled, has no trainable weights, has constraints, or was
        built in the scope of a strategy; there is no iteration; or x, labels and weights differ in
        length.
    """

    def __init__(
        self,
        caller: str,
        model: SobolevModel,
        x: Any,
        y: Any,
        sample_weight: Any,
        iterations: int,
        callbacks: Any,
        verbose: str | int = 0,
    ):
        if not isinstance(model, EquationModel):
            got = require.shown(model)
            raise ValueError(f"{caller}: model is a SobolevModel, got {got}.")
        if not getattr(model, "objective", None):
            raise ValueError(f"{caller}: the model has no loss yet, call compile first.")
        if (strategy := model._distribute_strategy) is not None:
            raise ValueError(
                f"{caller}: runs on one device, and the model was built in the scope of "
                f"{type(strategy).__name__}: build and compile it outside."
            )
        iterations = require.whole_number(caller, "iterations", iterations, at_least=1)
        self.problem: Problem = Problem(model, x, y, sample_weight, caller)
        self.problem.build()
        warn_of_coupled_rows(caller, model, self.problem.data[0])
        self.caller: str = caller
        self.model: SobolevModel = model
        self.variables: list = model.trainable_variables
        if not self.variables:
            raise ValueError(f"{caller}: the model has no trainable weights.")
        for variable in self.variables:
            if getattr(variable, "constraint", None) is not None:
                raise ValueError(
                    f"{caller}: {variable.path} has a constraint, which steps of all weights at "
                    "once do not keep: use model.fit, or take the constraint away."
                )
        if not model.optimizer.built:
            model.optimizer.build(self.variables)  # as `fit` does: a .keras file has its state
        self.last_weights: np.ndarray = np.concatenate(
            [np.ravel(v) for v in self.variables], dtype="f8"
        )
        self.history: keras.callbacks.History = keras.callbacks.History()
        self._iterations: int = iterations
        self._callbacks: keras.callbacks.CallbackList = callback_list(
            caller, callbacks, self.history, model, iterations, int(verbose == 1)
        )
        self._bar: keras.utils.Progbar = progress_bar(
            iterations, verbose, "iteration", stateful_metrics=["loss"]
        )

    def __enter__(self) -> "FullBatch":
        self.model.forget_stale_functions()
        self.model.stop_training = False
        self._callbacks.on_train_begin()
        self._callbacks.on_epoch_begin(0)
        return self

    def __exit__(self, error: Any, *_: Any) -> None:
        self.problem.assign(tf.constant(self.last_weights))
        self.model.reset_metrics()
        if done := len(self.history.epoch):
            self._bar.update(done, finalize=True)
        if error is None:
            self._callbacks.on_train_end()

    def end_iteration(self, weights: np.ndarray, loss: float) -> bool:
        """End an iteration.

        Args:
          weights: [N], the weights at its end.
          loss: the loss with these weights.

        Returns:
          Whether a callback has asked the fit to stop.
        """
        self.last_weights = np.array(weights)
        self.problem.assign(tf.constant(self.last_weights))  # callbacks may save them
        self._callbacks.on_epoch_end(len(self.history.epoch), {"loss": float(loss)})
        done = len(self.history.epoch)
        if done < self._iterations and not self.model.stop_training:
            self._callbacks.on_epoch_begin(done)
        self._bar.update(len(self.history.epoch), [("loss", float(loss))], finalize=False)
        return self.model.stop_training

    def compiled(self, function: Callable) -> Callable:
        """Compile a function, if the model is not run eagerly.

        The model keeps compiled functions, and data are their arguments, because TensorFlow does
        not free all of a trace: otherwise memory would grow by megabytes with every fit. Data of
        other shapes are traced once.

        Args:
          function: a function of a module, from (problem, weights [N]) to tensors.

        Returns:
          The function of the weights only.
        """
        without_data = self.problem.at(())

        def run(data, weights):
            return function(without_data.at(data), weights)

        def make():
            return tf.function(run, autograph=False, jit_compile=self.model.jit_compile)

        eager = self.model.run_eagerly
        compiled = run if eager else self.model.solver_functions.get(function, make)

        def evaluate(weights):
            with own_errors(self.caller, self.model.target):
                return compiled(self.problem.data, weights)

        return evaluate

    def refuse_not_finite(self, loss: Any, *arrays: np.ndarray) -> None:
        """Raise FloatingPointError if the loss, or what comes from it, is not finite."""
        if all(np.isfinite(a).all() for a in (loss, *arrays)):
            return
        self.model.objective.refuse_weights(self.caller, self.model.optimizer.iterations)
        error = FloatingPointError(
            f"{self.caller}: the loss is {loss}, or its gradient not finite: x and the labels are "
            "finite, look at the net's initial weights, and scale x and labels by adapt."
        )
        not_finite.explain(self.model, not_finite.batches(self.problem.data), error)
        raise error
