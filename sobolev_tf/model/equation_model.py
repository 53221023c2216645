"""EquationModel: a Keras model that trains on the terms of equations 1 and 2."""

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.keras_support import compile_settings, loss_scaling, pitfalls, strategies
from sobolev_tf.keras_support.callbacks import stop_at_nan_first
from sobolev_tf.metrics import has_state, in_float64, jet_metrics, refuse_unknown
from sobolev_tf.model import arguments, gradients, labels, saving, scores, term_metrics, terms
from sobolev_tf.model.equation import Equation
from sobolev_tf.model.feed import Feed
from sobolev_tf.model.gate import Gate
from sobolev_tf.model.missing import complete_rows
from sobolev_tf.model.net_model import NetModel
from sobolev_tf.model.objective import Objective
from sobolev_tf.model.problem import Problem
from sobolev_tf.projections import FullDerivatives, ProjectedDerivatives, Projection


class EquationModel(NetModel):
    """A Keras model that trains an `Equation`: its steps, losses, metrics, jets and files.

    `SobolevModel` and `PolicyDistiller` choose the equation.

    Args:
      equation: the net with its inputs and scaling, and the terms that it is trained on.
      target: supplies labels inside the step, or None.
      projection: of equation 2, or None for full derivatives.
      **kwargs: Keras's, such as name.
    """

    def __init__(
        self, equation: Equation, target: Any, projection: Projection | None, **kwargs: Any
    ) -> None:
        super().__init__(equation, target, projection, **kwargs)
        self.label_sizes: dict | None = None  # of the labels that `adapt` saw, by component
        self.missing: str | None = None
        self.warned: set[str] = set()  # what `fit` has warned about
        # State is made here: a built model accepts none in `compile`.
        if projection:
            self._steps_drawn = self.add_weight(
                (), "zeros", "int64", trainable=False, name="steps_drawn"
            )
        names = labels.all_terms(self.order)
        self._loss_trackers = {name: keras.metrics.Mean(f"{name}_loss") for name in names}
        # Where the net is float64, metrics are: float32 would round values far from zero.
        self._jet_metrics = jet_metrics(names, "float64" if equation.is_float64() else None)
        self._shown_metrics: tuple[str, ...] = ()
        # At once where the net knows its inputs: a built model accepts no more state.
        if (shape := equation.inputs.known_shape()) is not None:
            self.build(shape)

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
        **kwargs: Any,
    ) -> None:
        """Configure as in Keras, with one loss and one weight for each term.

        Half-precision nets get Keras's dynamic loss scaling, as they do in Keras.

        Args:
          optimizer: Keras's.
          loss, loss_weights: a list in the order value, d1, ..., dJ; a dict of those names and
            jvp, vjp, hvp; or one for all. None leaves its term out. Default: SquaredNorm, weight 1.
            A weight may be a function of the step, such as a Keras schedule.
          metrics, weighted_metrics: Keras's, of values only.
          jet_metrics: some of "rmse", "r2", "cosine", of every term that has labels.
          component_weights: what multiplies each component's error before its loss: a dict of
            arrays [*out,*in × j] by name, or "rms", one over the root mean square of each
            component of the labels that `adapt` saw. Not with a projection.
          missing: "nan" leaves NaN entries of labels out; `jet_metrics` do not shrink with them.
            Keras's metrics, and r2, see rows without NaN only. None makes NaN an error.
          mean_over: what a term's loss is averaged over. "batch": all of it, so that a term
            shrinks by the share of its labels that are missing, and every label counts alike
            wherever it stands. "present": a term's labels that are there, so that it keeps its
            weight beside the others. Not with a projection.
          **kwargs: Keras's: jit_compile, run_eagerly, steps_per_execution.

        Raises:
          ValueError: for an unknown setting.
        """
        if component_weights is not None and self.projection:
            raise ValueError("component_weights needs full derivatives: projection=None.")
        if mean_over != "batch" and self.projection:
            raise ValueError('mean_over="present" needs full derivatives: projection=None.')
        compile_settings.refuse_wrong_numbers(kwargs)
        kwargs = arguments.without_xla_for_black_boxes(kwargs, self.target)
        self.objective = Objective(
            self.order, loss, loss_weights, component_weights, missing, mean_over
        )
        self.objective.balance(self.label_sizes)
        scores.look_at_loss("compile", self.net, self.objective, self.scaling)
        self.missing = missing
        self._shown_metrics = refuse_unknown(jet_metrics)
        optimizer = loss_scaling.scale_half_precision(optimizer, self._flatten_layers())
        metrics = arguments.metrics_of_values(metrics, self.order)
        compile_settings.refuse_unknown_metrics("metrics", metrics)
        compile_settings.refuse_unknown_metrics("weighted_metrics", weighted_metrics)
        if self.equation.is_float64():
            metrics, weighted_metrics = in_float64(metrics), in_float64(weighted_metrics)
        super().compile(optimizer, metrics=metrics, weighted_metrics=weighted_metrics, **kwargs)
        self._own_config = {"loss": loss, "loss_weights": loss_weights, "missing": missing}
        self._own_config["jet_metrics"] = list(self._shown_metrics)
        self._own_config["mean_over"] = mean_over

    def problem(self, x: Any, y: Any = None, sample_weight: Any = None) -> Problem:
        """Return the loss of arrays as a function of the weights only, for full-batch solvers."""
        return Problem(self, x, y, sample_weight)

    @property
    def metrics(self) -> list[keras.Metric]:
        """Keras's list, without metrics that were not requested or that no label has built yet."""
        shown = {f"{name}_{kind}" for name in self._loss_trackers for kind in self._shown_metrics}
        hidden = {id(metric) for name, metric in self._jet_metrics.items() if name not in shown}
        return [m for m in super().metrics if id(m) not in hidden and has_state(m)]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Take one step of the optimizer on a batch (x, y, sample_weight); return its logs."""
        with tf.GradientTape() as tape:
            loss, comparison = self._step(data, training=True)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        pairs = gradients.connect(tape.gradient(scaled, variables), variables)
        gradients.build_optimizer(self.optimizer, variables)
        # A batch that is refused while it is read must not decay the weights.
        with tf.control_dependencies([loss]):
            self.optimizer.apply_gradients(pairs)
        return strategies.reducible_logs(self.compute_metrics(*comparison))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Compute the logs of a batch (x, y, sample_weight)."""
        _, comparison = self._step(data, training=False)
        return strategies.reducible_logs(self.compute_metrics(*comparison))

    def _step(self, data, training):
        """The loss of a batch, and the comparison that it comes from."""
        comparison = self._compare(data, training)
        x, y, y_pred, sample_weight = comparison
        loss = self.compute_loss(x, y, y_pred, sample_weight, training)
        # The stock step's tracker; the loss is divided by the replicas for the gradient's sake.
        divided = strategies.replicas()
        self._loss_tracker.update_state(loss * divided, sample_weight=terms.batch_size(x))
        return loss, comparison

    def _compare(self, data, training, fold=True):
        """Labels and predictions of a batch, by name of term; a projection is an example."""
        batch = self.equation.read_batch(data)
        batch = batch._replace(x=self._cast(batch.x))
        kind, classes = self._kind_of_derivatives(training), self.objective.classes
        if self.missing == "nan" and isinstance(kind, ProjectedDerivatives):
            kind = self.equation.among_known(kind, batch)
        comparison = self.equation.compare(batch, kind, self.target, classes, training)
        return comparison.fold_projections(bool(self.projection)) if fold else comparison

    def compute_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> tf.Tensor:
        """Compute equation 1 for the fields of a `Comparison`, plus regularization losses."""
        step, dtype, size = self.optimizer.iterations, y_pred["value"].dtype, terms.batch_size(x)
        total = []
        self.objective.refuse_no_weight(y if training else ())
        for name, weight, value in self.objective.terms(y, y_pred, sample_weight or {}, step):
            self._loss_trackers[name].update_state(value, sample_weight=size)
            total.append(tf.cast(value, dtype) * tf.cast(weight, dtype))
        total += [tf.cast(loss, dtype) for loss in self.losses]
        return tf.add_n(total) / strategies.replicas()

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, tf.Tensor]:
        """Update metrics with the fields of a `Comparison`; return those of terms with labels."""
        if not isinstance(y_pred, dict):  # Keras builds its metrics from here
            y, y_pred = term_metrics.first_values(y, y_pred, self.order, self.objective.classes)
        comparison = terms.Comparison(x, y, y_pred, sample_weight or {})
        unscaled = comparison.unscaled_terms(self.scaling, self.projection)
        for name, true, predicted, weight in unscaled:
            for kind in self._shown_metrics:
                if metric := self._jet_metrics.get(f"{name}_{kind}"):
                    term_metrics.update(metric, true, predicted, weight, self.missing)
            if name == "value":
                if self.missing == "nan":
                    true, predicted, weight = complete_rows(true, predicted, weight)
                super().compute_metrics(x, true, predicted, weight)
        taken = [name for name in y if self.objective.takes(name)]
        absent = term_metrics.absent(self._loss_trackers, labeled=y, taken=taken)
        results = self.get_metrics_result()
        return {name: value for name, value in results.items() if name not in absent}

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
        """Train as in Keras; `fit(x)` is enough where the model has a live target.

        With `steps_per_epoch`, arrays are shuffled and repeated without end, in full batches:
        an epoch then is as long as you like, which trains small data many times faster.

        Args: Keras's, but
          y: labels in any form of `model.labels`: values, (y, dy), or a dict by name.
          sample_weight: [B], for all terms, or a dict by name of term.
          shuffle: None shuffles arrays, and leaves data sets and generators as they are.

        Raises:
          ValueError: for data that the gate refuses, see `gate`.
          FloatingPointError: for a loss that became NaN, before callbacks see the epoch's end.
        """
        feed = Feed(self, "fit")
        feed.look_at_settings(epochs=epochs, begin=initial_epoch, validation=validation_steps)
        options: dict[str, Any] = {"shuffle": shuffle, "class_weight": class_weight}
        options |= {"steps_per_epoch": steps_per_epoch, "validation_split": validation_split}
        options |= {"validation_data": validation_data}
        options |= {"validation_batch_size": validation_batch_size}
        passed = feed.training(x, y, sample_weight, batch_size, options)
        pitfalls.warn_about_net(self.net, self.order)
        self._forget_traces_without_state()
        with feed.explained(steps_per_epoch and steps_per_epoch * epochs):
            return super().fit(
                epochs=epochs,
                verbose=verbose,
                callbacks=stop_at_nan_first(callbacks),
                initial_epoch=initial_epoch,
                validation_steps=validation_steps,
                validation_freq=validation_freq,
                **passed,
            )

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
        feed = Feed(self, "evaluate")
        feed.look_at_settings(steps=steps)
        cached = kwargs.get("_use_cached_eval_dataset", False)  # `fit` has looked at it
        passed = feed.evaluation(x, y, sample_weight, batch_size, cached)
        if not cached:
            self._forget_traces_without_state()
        rest = {"verbose": verbose, "steps": steps, "callbacks": callbacks, **kwargs}
        with feed.explained(steps):
            return super().evaluate(**passed, return_dict=return_dict, **rest)

    def predict(self, x: Any, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Compute values [B,*out] as in Keras, but in the net's dtype."""
        passed = Feed(self, "predict").prediction(x, batch_size)
        return super().predict(**passed, **kwargs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Take one step on arrays as in Keras; they are looked at as in `fit`."""
        x, y, sample_weight = Feed(self, "train_on_batch").batch(x, y, sample_weight)
        return super().train_on_batch(x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Compute losses and metrics of arrays as in Keras; they are looked at as in `fit`."""
        x, y, sample_weight = Feed(self, "test_on_batch").batch(x, y, sample_weight)
        return super().test_on_batch(x, y, sample_weight, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Compute values [B,*out] of arrays as in Keras; they are looked at as in `fit`."""
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
        """Return compile's arguments for a saved model; empty before `compile`."""
        if not self.compiled:
            return {}
        balanced = {"component_weights": self.objective.config()}
        own = keras.saving.serialize_keras_object(self._own_config | balanced)
        return {**super().get_compile_config(), **own}

    def compile_from_config(self, config: dict) -> None:
        """Compile as `get_compile_config` says, and build the optimizer's state."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def _kind_of_derivatives(self, training):
        """The derivatives that this step compares: full ones, or along directions of its own."""
        if not self.projection:
            return FullDerivatives()
        if not training:
            return self.projection.sample(0)
        step = tf.convert_to_tensor(self._steps_drawn) + 1
        self._steps_drawn.assign(step)
        return self.projection.sample(step)

    def _gate(self, method, caller=None):
        """What a method, or the function `caller`, lets in."""
        equation, target = self.equation, self.target is not None
        caller = caller or f"{type(self).__name__}.{method}"
        axes = len(self.scaling.mean.shape) if self.built else None
        return Gate(
            caller, self.order, self.missing, equation.masked, target, self.projection, axes
        )

    def _forget_traces_without_state(self):
        """Under a strategy, a new R2Score makes its state in a new trace only."""
        stateless = not all(map(has_state, self._jet_metrics.values()))
        if stateless and "r2" in self._shown_metrics and self._distribute_strategy is not None:
            self.train_function = self.test_function = None
