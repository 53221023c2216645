"""EquationModel: a Keras model that trains on the terms of equations 1 and 2."""

from collections.abc import Iterable
from typing import Any

import keras

from sobolev_tf.keras_support import (
    compile_settings,
    fit_arguments,
    loss_scaling,
    options,
    pitfalls,
)
from sobolev_tf.keras_support.callbacks import stop_at_nan_first
from sobolev_tf.keras_support.errors import errors_of
from sobolev_tf.keras_support.graph_errors import no_rows_refused, refuse_no_results
from sobolev_tf.metrics import has_state, in_float64, refuse_unknown
from sobolev_tf.model import arguments, gradients, saving, scores
from sobolev_tf.model.equation_steps import EquationSteps
from sobolev_tf.model.feed import Feed
from sobolev_tf.model.gate import Gate
from sobolev_tf.model.objective import Objective
from sobolev_tf.model.partly_missing import PartlyMissing
from sobolev_tf.model.problem import Problem
from sobolev_tf.targets import Teacher


class EquationModel(EquationSteps):
    """A Keras model that trains an `Equation`; base class of `SobolevModel` and `PolicyDistiller`.

    Args:
      equation: the net with its inputs and scaling, and the terms that it is trained on.
      target: supplies labels inside the step, or None.
      projection: the `Projection` of equation 2, or None for full derivatives.
      **kwargs: arguments of `keras.Model`, such as `name`.
    """

    steps_by_time = False  # whether `fit` of arrays measures how many steps a call takes

    @errors_of("compile")
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        jet_metrics: str | Iterable[str] = (),
        component_weights: dict[str, Any] | str | None = None,
        missing: str | None = None,
        mean_over: str = "batch",
        derivative_share: float = 1.0,
        **kwargs: Any,
    ) -> None:
        """Configure training as in Keras, with one loss and one weight for each term.

        Half-precision nets get dynamic loss scaling, as in Keras, unless auto_scale_loss=False.

        Args:
          optimizer: as in Keras.
          loss, loss_weights: a list in the order value, d1, ..., dJ; a dict with these names and
            jvp, vjp, hvp; or one for all terms. None leaves a term out. Default: `SquaredNorm` with
            weight 1. A weight may be a function of the step, such as a Keras schedule.
          metrics, weighted_metrics: as in Keras, computed for values only.
          jet_metrics: any of "rmse", "r2", "cosine", computed for every term that has labels, but
            not for class numbers.
          component_weights: factors of the error of each component: a dict of arrays
            [*out,*in × j] by name of term, or "rms", which divides each error by the root mean
            square of its component in the labels passed to `adapt`, or by a quarter of the largest
            one in the term, whichever is larger. Not with a projection.
          missing: "nan" ignores NaN entries of labels; None, the default, makes NaN an error.
            `jet_metrics` are then over the other entries; Keras's metrics and r2 are over rows
            without NaN. Metrics of labels that are all missing are NaN. Where a loss compares the
            entries of a row with each other, as a softmax cross-entropy does, all of them must be
            known, or all missing.
          mean_over: what the loss of a term is averaged over. "batch": all rows, so that a term
            shrinks with the share of its labels that are missing, and every label has the same
            weight. "present": the labels that are present, so that the term keeps its weight
            relative to the others: those of a step in training, those of the whole epoch or
            evaluation in logs, where `loss` sums these means. Not with a projection.
          derivative_share: the share of a batch's rows at which `fit` compares derivatives, drawn
            anew at every step; values are compared at all rows. Below 1, a step is cheaper and
            its gradient noisier, without bias. Layers that couple rows see the rows that were
            drawn as a batch of their own. Evaluation and full-batch solvers compare all rows.
          **kwargs: Keras's `jit_compile`, `run_eagerly`, `auto_scale_loss`, `steps_per_execution`.
            Where the last is not given, or "auto", `fit` of arrays measures how many steps fit into
            a call; data sets take one. With `jit_compile`, `fit` of arrays uses XLA once the
            optimizer's past and coming steps are enough to repay compiling.

        Raises:
          ValueError: a setting is unknown.
        """
        if component_weights is not None and self.projection:
            raise ValueError("component_weights needs full derivatives: projection=None.")
        if mean_over != "batch" and self.projection:
            raise ValueError('mean_over="present" needs full derivatives: projection=None.')
        compile_settings.refuse_wrong_options(kwargs, EquationModel.compile)
        if by_time := kwargs.get("steps_per_execution", "auto") == "auto":
            kwargs["steps_per_execution"] = 1  # as Keras counts them
        kwargs = arguments.without_xla_for_black_boxes(kwargs, self.target)
        self.objective = Objective(
            self.order,
            loss,
            loss_weights,
            component_weights,
            missing,
            mean_over,
            derivative_share,
        )
        self.objective.balance(self.label_sizes)
        scores.look_at_loss("compile", self.net, self.objective, self.scaling, self.projection)
        self.missing = missing
        self._shown_metrics = refuse_unknown(jet_metrics)
        automatic = bool(kwargs.get("auto_scale_loss", True))
        layers = self._flatten_layers()
        optimizer = loss_scaling.scale_half_precision(optimizer, layers, automatic)
        metrics = arguments.metrics_of_values(metrics, self.order)
        compile_settings.refuse_unknown_metrics("metrics", metrics)
        compile_settings.refuse_unknown_metrics("weighted_metrics", weighted_metrics)
        kinds = keras.metrics.Metric if self.equation.is_float64() else keras.metrics.R2Score
        metrics, weighted_metrics = (in_float64(m, kinds) for m in (metrics, weighted_metrics))
        super().compile(optimizer, metrics=metrics, weighted_metrics=weighted_metrics, **kwargs)
        self.steps_by_time = by_time
        self._own_config = {"loss": loss, "loss_weights": loss_weights, "missing": missing}
        self._own_config["jet_metrics"] = list(self._shown_metrics)
        self._own_config |= {"mean_over": mean_over, "derivative_share": derivative_share}
        self._own_config["auto_scale_loss"] = automatic  # which Keras leaves out
        if by_time:
            self._own_config["steps_per_execution"] = "auto"

    def problem(self, x: Any, y: Any = None, sample_weight: Any = None) -> Problem:
        """Return the loss of arrays as a function of the weights, for full-batch solvers."""
        return Problem(self, x, y, sample_weight)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | None = None,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> keras.callbacks.History:
        """Train as in Keras; `fit(x)` is enough if the model has a target.

        With `steps_per_epoch`, arrays are shuffled and repeated endlessly, in full batches, and an
        epoch has that many steps. Unless a callback looks at batches, arrays take as many steps in
        one call as last a tenth of a second; `steps_per_execution` sets their number.

        Args:
          x: arrays, or a data set or generator of (x, y) or (x, y, sample_weight).
          y: labels in any form of `model.labels`: values, (y, dy), or a dict by name.
          sample_weight: [B] for all terms, or a dict by name of term.
          shuffle: None shuffles arrays and the batches of a PyDataset, but not data sets and
            generators.
          batch_size, epochs, verbose, callbacks, validation_split, validation_data, class_weight,
            initial_epoch, steps_per_epoch, validation_steps, validation_batch_size,
            validation_freq: as in Keras.

        Returns:
          Keras's History.

        Raises:
          ValueError: the data are refused, see `model.gate`.
          FloatingPointError: a loss became NaN or infinite. It is raised before other callbacks
            see the end of the epoch.
        """
        feed = Feed(self, "fit", callbacks, validation_steps)
        settings: dict[str, Any] = {"epochs": epochs, "initial_epoch": initial_epoch}
        settings |= {"validation_steps": validation_steps, "callbacks": callbacks}
        feed.check_settings(settings | {"verbose": verbose})
        data: dict[str, Any] = {
            "shuffle": shuffle,
            "class_weight": class_weight,
            "steps_per_epoch": steps_per_epoch,
            "validation_split": validation_split,
            "validation_data": validation_data,
            "validation_batch_size": validation_batch_size,
        }
        feed.epochs = max(epochs - initial_epoch, 1)
        passed = feed.training(x, y, sample_weight, batch_size, data)
        pitfalls.warn_about_net(self.net, self.order)
        self._forget_traces_without_state()
        if feed.batches:  # state that a trace makes, TensorFlow makes by tracing twice
            gradients.build_optimizer(self.optimizer, self.trainable_variables)
        with feed.explained(steps_per_epoch and steps_per_epoch * epochs):
            history = super().fit(
                epochs=epochs,
                verbose=verbose,
                callbacks=stop_at_nan_first(callbacks),
                initial_epoch=initial_epoch,
                validation_steps=validation_steps,
                validation_freq=fit_arguments.validation_epochs(feed.gate.caller, validation_freq),
                **passed,
            )
        pace = feed.batches and feed.batches.pace
        if verbose and self.steps_by_time and pace and pace.most > 1:
            print(f"{feed.gate.caller}: {pace}")
        return history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Compute losses and metrics as in Keras; labels, weights and errors are as for `fit`."""
        feed = Feed(self, "evaluate", callbacks, steps)
        feed.check_settings({"steps": steps, "callbacks": callbacks, "verbose": verbose})
        known = ("_use_cached_eval_dataset",)
        options.refuse_unknown(feed.gate.caller, kwargs, EquationModel.evaluate, known=known)
        cached = kwargs.get("_use_cached_eval_dataset", False)  # `fit` has checked it
        passed = feed.evaluation(x, y, sample_weight, batch_size, cached)
        if not cached:
            self._forget_traces_without_state()
        rest = {"verbose": verbose, "steps": steps, "callbacks": callbacks, **kwargs}
        with feed.explained(steps):
            results = super().evaluate(**passed, return_dict=return_dict, **rest)
        return refuse_no_results(feed.gate.caller, results)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Compute values [B,*out] as in Keras."""
        feed = Feed(self, "predict")
        options.refuse_unknown(feed.gate.caller, kwargs, keras.Model.predict, known=())
        settings = {"verbose": verbose, "steps": steps, "callbacks": callbacks}
        fit_arguments.check(feed.gate.caller, self, settings | {"batch_size": batch_size})
        with no_rows_refused(feed.gate.caller):
            return super().predict(**feed.prediction(x, batch_size), **settings)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Take one training step on arrays as in Keras; they are checked as in `fit`."""
        feed = Feed(self, "train_on_batch")
        x, y, sample_weight = feed.batch(x, y, sample_weight, class_weight)
        return super().train_on_batch(x, y, sample_weight, class_weight or None, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Compute losses and metrics of arrays as in Keras; they are checked as in `fit`."""
        x, y, sample_weight = Feed(self, "test_on_batch").batch(x, y, sample_weight)
        return super().test_on_batch(x, y, sample_weight, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Compute values [B,*out] at arrays as in Keras; they are checked as in `fit`."""
        x, _, _ = Feed(self, "predict_on_batch").batch(x, None, None)
        return super().predict_on_batch(x)

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "EquationModel":
        """Make a model from `get_config`'s arguments, or from those of older files."""
        made = saving.deserialize(config, custom_objects)
        posterior = made.pop("posterior", None)
        model = cls(**made)
        model.restore_posterior(posterior)
        return model

    def get_compile_config(self) -> dict[str, Any]:
        """Return the arguments of `compile` for a saved model; empty before `compile`."""
        if not self.compiled:
            return {}
        components = {"component_weights": self.objective.config()}
        own = keras.saving.serialize_keras_object(self._own_config | components)
        return {**super().get_compile_config(), **own}

    def compile_from_config(self, config: dict) -> None:
        """Compile as `get_compile_config` says, and build the optimizer's state."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def steps_per_call(self) -> int:
        """Count the steps of one of Keras's calls on arrays on the device; 0 for Keras's way."""
        limits = keras.config.max_epochs() or keras.config.max_steps_per_epoch()
        if self._distribute_strategy is not None or self.run_eagerly or limits:
            return 0
        steps = self.steps_per_execution
        return 0 if steps == 1 and not self.steps_by_time else steps

    def _gate(self, method, caller=None):
        """The checks of a method, or of the function `caller`."""
        caller = caller or f"{type(self).__name__}.{method}"
        if isinstance(self.target, Teacher) and not method.startswith("predict"):
            self.target.warn_of_drawn_weights(caller)
        target = self.target is not None
        partly_missing = self._partly_missing() if self.missing == "nan" else None
        masked = self.equation.masked
        return Gate(caller, self.order, self.missing, masked, target, partly_missing)

    def _partly_missing(self):
        shapes = (self.equation.output_dims, self.scaling.mean.shape) if self.built else ()
        return PartlyMissing(self.order, self.objective, self.projection, *map(tuple, shapes))

    def _forget_traces_without_state(self):
        """Under a strategy, a new R2Score makes its state in a new trace only."""
        stateless = not all(map(has_state, self._jet_metrics.values()))
        if stateless and "r2" in self._shown_metrics and self._distribute_strategy is not None:
            self.train_function = self.test_function = None
