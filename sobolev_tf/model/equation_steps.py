"""The steps of an EquationModel: the loss and metrics of a batch."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import row_share
from sobolev_tf.keras_support import strategies
from sobolev_tf.keras_support.loss_scaling import skipped_together
from sobolev_tf.keras_support.step_counts import batches_taken
from sobolev_tf.keras_support.update_order import after
from sobolev_tf.metrics import has_state, jet_metrics
from sobolev_tf.model import gradients, labels, mixed_rows, saving, term_metrics, terms
from sobolev_tf.model.equation import Equation
from sobolev_tf.model.missing import complete_rows
from sobolev_tf.model.net_model import NetModel
from sobolev_tf.model.objective import Objective
from sobolev_tf.projections import FullDerivatives, ProjectedDerivatives, Projection


class EquationSteps(NetModel):
    """A model that compares the terms of an `Equation` on a batch, and learns from them.

    Args:
      equation: the net with its inputs and scaling, and the terms that it is trained on.
      target: supplies labels inside the step, or None.
      projection: the `Projection` of equation 2, or None for full derivatives.
      **kwargs: arguments of `keras.Model`, such as `name`.

    Attributes:
      objective: objective of `compile`.
    """

    objective: Objective

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
        # Metrics of a float64 net are float64: float32 would round values far from zero. r2 is
        # always.
        self._jet_metrics = jet_metrics(names, "float64" if equation.is_float64() else None)
        self._shown_metrics: tuple[str, ...] = ()
        # Now, if the net knows its inputs: a built model accepts no more state.
        if (shape := equation.inputs.known_shape()) is not None:
            self.build(shape)

    @property
    def metrics(self) -> list[keras.Metric]:
        """Keras's list, without metrics that were not requested or that no label has built yet."""
        shown = {f"{name}_{kind}" for name in self._loss_trackers for kind in self._shown_metrics}
        hidden = {id(metric) for name, metric in self._jet_metrics.items() if name not in shown}
        return [m for m in super().metrics if id(m) not in hidden and has_state(m)]

    def save_own_variables(self, store: Any) -> None:
        """Write variables, and with them `label_sizes`."""
        super().save_own_variables(store)
        saving.write_sizes(store, self.label_sizes)

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables` wrote; `label_sizes` stay where a file has none."""
        own, sizes = saving.read_sizes(store)
        super().load_own_variables(own)
        if sizes is not None:
            self.set_label_sizes(sizes)

    def set_label_sizes(self, sizes: dict[str, np.ndarray]) -> None:
        """Set the sizes of label components, and the component weights of "rms" from them."""
        self.label_sizes = sizes
        if self.compiled and self.objective.balance(sizes):
            self.forget_functions()

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Take one step of the optimizer on a batch (x, y, sample_weight); return its logs."""
        with tf.GradientTape() as tape:
            loss, comparison = self._step(data, training=True)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        of_loss = gradients.connect(tape.gradient(scaled, variables), variables)
        gradients.build_optimizer(self.optimizer, variables)
        with after(loss, of_loss):
            together = skipped_together(self.optimizer, of_loss)
            self.optimizer.apply_gradients(zip(together, variables, strict=True))
        return strategies.reducible_logs(self.compute_metrics(*comparison[:4]))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Compute the logs of a batch (x, y, sample_weight)."""
        _, comparison = self._step(data, training=False)
        return strategies.reducible_logs(self.compute_metrics(*comparison[:4]))

    def _step(self, data, training):
        """The loss of a batch, and the comparison that it comes from."""
        # The number of rows so far makes directions new in each batch of an evaluation.
        start = 0 if training else tf.cast(self._loss_tracker.count, tf.int64)
        comparison = self._compare(data, training, start=start)
        x, y, y_pred, sample_weight, shares = comparison
        # Passed only where they are needed: overridden, the method may have Keras's arguments only.
        known = {} if shares is None else {"shares": shares}
        loss = self.compute_loss(x, y, y_pred, sample_weight, training, **known)
        # Keras's tracker; the loss was divided by the number of replicas for the gradient.
        tracked = loss * strategies.replicas()
        if self._means_of_present():  # of other numbers of rows: `get_metrics_result` adds them
            tracked = tf.add_n([tf.zeros([]), *(tf.cast(t, tf.float32) for t in self.losses)])
        self._loss_tracker.update_state(tracked, sample_weight=terms.batch_size(x))
        return loss, comparison

    def _means_of_present(self):
        return self.missing == "nan" and self.objective.mean_over == "present"

    def _compare(self, data, training, fold=True, start=0):
        """Labels and predictions of a batch, by name of term; a projection is an example."""
        batch = self.equation.read_batch(data)
        batch = batch._replace(x=self._cast(batch.x))
        kind = self._kind_of_derivatives(training, start)
        share = self.objective.derivative_share if training else 1.0
        if share == 1:
            comparison = self._compare_rows(batch, kind, training)
        else:
            step = batches_taken(self.optimizer)
            drawn = type(batch)(*row_share.draw(tuple(batch), share, step))
            # The rows drawn would give a ratio of two means, which is biased.
            whole = batch.labels.items() if self._means_of_present() else ()
            shares = {n: self.objective.share(self.equation.joined(n, y)) for n, y in whole}
            if "value" in self.equation.requested(batch.labels, self.target, training):
                with keras.StatelessScope():  # layers' state moves once, with all rows
                    comparison = self._compare_rows(drawn, kind, training)
                values = self._compare_rows(batch, kind, training, only_values=True)
                comparison = mixed_rows.combine(values, comparison)
            else:
                comparison = self._compare_rows(drawn, kind, training)
            # Metrics count the batch, not the share.
            comparison = comparison._replace(x=batch.x, shares=shares)
        return comparison.fold_projections(bool(self.projection)) if fold else comparison

    def _compare_rows(self, batch, kind, training, only_values=False):
        if self.missing == "nan" and isinstance(kind, ProjectedDerivatives):
            kind = self.equation.among_known(kind, batch)
        classes, missing = self.objective.classes, self.missing
        return self.equation.compare(
            batch, kind, self.target, classes, missing, training, only_values
        )

    def compute_loss(
        self,
        x: Any,
        y: Any,
        y_pred: Any,
        sample_weight: Any = None,
        training: bool = True,
        shares: dict[str, tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """Compute equation 1 for the fields of a `Comparison`, plus regularization losses.

        Raises:
          ValueError: y_pred is the net's output.
        """
        if not isinstance(y_pred, dict):
            raise ValueError(
                f"{type(self).__name__}.compute_loss compares values and derivatives by name, as "
                "train_step passes them, not the net's output: call train_on_batch or "
                "test_on_batch, or override compute_loss and call it by super()."
            )
        step, dtype, size = self.optimizer.iterations, y_pred["value"].dtype, terms.batch_size(x)
        total = []
        self.objective.refuse_no_weight(y if training else ())
        compared = self.objective.terms(y, y_pred, sample_weight or {}, step, shares)
        for name, weight, value, share in compared:
            rows = size if share is None else tf.cast(size, share.dtype) * share
            self._loss_trackers[name].update_state(value, sample_weight=rows)
            total.append(tf.cast(value, dtype) * tf.cast(weight, dtype))
        total += [tf.cast(loss, dtype) for loss in self.losses]
        return tf.add_n(total) / strategies.replicas()

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, tf.Tensor]:
        """Update metrics with the fields of a `Comparison`; return those of terms with labels."""
        if not isinstance(y_pred, dict):  # Keras builds its metrics from here
            y, y_pred = term_metrics.first_values(y, y_pred, self.order, self.objective.classes)
            sample_weight = None
        comparison = terms.Comparison(x, y, y_pred, sample_weight or {})
        # Between class numbers and logits there is no error.
        numbers = [name for name, label in y.items() if label.dtype.is_floating]
        unscaled = comparison.unscaled_terms(self.scaling, self.projection)
        for name, true, predicted, weight in unscaled:
            for kind in self._shown_metrics if name in numbers else ():
                if metric := self._jet_metrics.get(f"{name}_{kind}"):
                    pair = true, predicted
                    if (name, kind) == ("value", "r2"):  # around adapt's mean, for digits' sake
                        pair = tuple(map(self.scaling.unscale_jvp, (y[name], y_pred[name])))
                    term_metrics.update(metric, *pair, weight, self.missing)
            if name == "value":
                if self.missing == "nan":
                    true, predicted, weight = complete_rows(true, predicted, weight)
                super().compute_metrics(x, true, predicted, weight)
        taken = [name for name in y if self.objective.takes(name)]
        absent = term_metrics.absent(self._loss_trackers, labeled=numbers, taken=taken)
        results = self.get_metrics_result()
        return {name: value for name, value in results.items() if name not in absent}

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """Compute the results of metrics; NaN for those of labels that were all missing.

        With mean_over="present" the loss is the sum of the terms' means over all labels since the
        last reset, with the weights of the current step.
        """
        results = super().get_metrics_result()
        if self.missing != "nan":
            return results
        if self._means_of_present():
            step = self.optimizer.iterations
            for name in filter(self.objective.takes, self._loss_trackers):
                weight = tf.cast(self.objective.weight(name, step), tf.float32)
                results["loss"] += weight * self._loss_trackers[name].result()
        compiled = getattr(self._compile_metrics, "metrics", [])
        return term_metrics.nan_without_labels(results, [*self.metrics, *compiled])

    def has_no_labels(self, loss: str) -> bool:
        """Tell whether a loss, such as "d1_loss", is NaN because no label of it was present."""
        tracker = self._loss_trackers.get(loss.removesuffix("_loss"))
        if tracker is None or not self._means_of_present():
            return False
        return not keras.ops.convert_to_numpy(tracker.count)  # the sum over replicas

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if self._distribute_strategy is None:
            return
        batch = self._first_share(iterator, data_batch)
        super()._maybe_symbolic_build(data_batch=batch)
        if "r2" in self._shown_metrics:
            with self.distribute_strategy.scope():
                self._build_r2(self.equation.read_batch(batch).labels)

    def _build_r2(self, labeled):
        """Make the state of r2: if a trace does, sums over replicas fail in it."""
        shapes = self.equation.output_dims, self.scaling.mean.shape
        outputs, inputs = (int(np.prod(shape)) for shape in shapes)
        for name in {*labels.names(self.order), *labeled}:  # a target may supply any order
            dtype = getattr(labeled.get(name), "dtype", tf.float32)
            metric = self._jet_metrics[f"{name}_r2"]
            if tf.as_dtype(dtype).is_floating and not has_state(metric):
                term_metrics.build(metric, terms.entries(name, outputs, inputs, self.projection))

    def _kind_of_derivatives(self, training, start=0):
        """The derivatives that this step compares: full ones, or along directions of its own."""
        if not self.projection:
            return FullDerivatives()
        if not training:
            return self.projection.sample(start)
        step = tf.convert_to_tensor(self._steps_drawn) + 1
        self._steps_drawn.assign(step)
        return self.projection.sample(step)
