"""SobolevModel: a Keras model that learns values and derivatives together (equation 1)."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import jets
from sobolev_tf.keras_support import batching, export, loss_scaling, pitfalls, strategies
from sobolev_tf.keras_support.callbacks import StopAtNaN
from sobolev_tf.metrics import has_state, jet_metrics, refuse_unknown
from sobolev_tf.model import arguments, labels, saving, term_metrics, terms
from sobolev_tf.model.equation import Equation
from sobolev_tf.model.missing import complete_rows, refuse_nan, refuse_nan_in
from sobolev_tf.model.objective import Objective
from sobolev_tf.model.problem import Problem
from sobolev_tf.model.sample_weights import beside_labels
from sobolev_tf.model.statistics import fit_statistics
from sobolev_tf.projections import FullDerivatives, Projection


@keras.saving.register_keras_serializable(package="sobolev_tf")
class SobolevModel(strategies.DistributedModel):
    """A network that learns a function's value and its derivatives up to `order`.

    Equation 1: the loss is the sum over j = 0..J of w_j l_j(D^j m(x), D^j f(x)), with m the net
    and f the labels, or a live target. With a projection it is equation 2: order j compares P
    random directions per example, drawn anew at every training step.

    Labels: see `model.labels`; losses and weights: see `compile`. Only missing labels are
    gradient-stopped. Dropout and BatchNormalization run in training mode inside `fit`: the latter
    couples the rows of a batch, and derivatives then carry the other rows' share.

    Args:
      net: any Keras model x [B,*in] -> [B,*out], one tensor out, built or not.
      order: J, the highest order that is compared; 0 compares values only.
      target: `targets.Function`, `targets.Teacher`, `targets.FiniteDifferences` or any callable
        of tensors: `fit(x)` takes its labels from here, inside the step. Labels that are passed
        to `fit` come first.
      wrt: for a net of several inputs, the name or names of those to differentiate.
      projection: a `Projection`, or its side: "output" for D^j <m, v>, "input" for derivatives
        along v. None compares full derivatives. Evaluation draws the same directions each time.
      projections, contraction, unbiased, orthogonal, seed: beside a side, the `Projection`'s
        count and other fields.

    Raises:
      ValueError: for an unknown setting, or a net of several outputs or of unknown axes.

    Example:

    >>> model = SobolevModel(keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]))
    >>> model.compile("adam", loss=["mse", "mae"], loss_weights=[1.0, 0.5])
    >>> x, y, dy = np.zeros([8, 2], "f"), np.zeros([8, 1], "f"), np.zeros([8, 2], "f")
    >>> sorted(model.fit(x, (y, dy), verbose=0).history)
    ['d1_loss', 'loss', 'value_loss']
    >>> model.predict_jet(x).derivatives[0].shape
    (8, 1, 2)
    """

    _equation_class = Equation

    def __init__(
        self,
        net: keras.Model,
        order: int = 1,
        *,
        target: Any = None,
        wrt: str | list[str] | None = None,
        projection: Projection | str | None = None,
        projections: int = 1,
        contraction: str = "distinct",
        unbiased: bool = False,
        orthogonal: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        if order < 0:
            raise ValueError(f"order is at least 0, got {order}.")
        # Transparent to dtypes: the net itself decides what to cast.
        super().__init__(autocast=False, **kwargs)
        self.net, self.order, self.wrt, self.target = net, order, wrt, target
        shorthand = {"contraction": contraction, "unbiased": unbiased, "orthogonal": orthogonal}
        self.projection = arguments.as_projection(projection, seed, count=projections, **shorthand)
        self.equation = self._equation_class(net, order, wrt)
        self.scaling = self.equation.scaling
        self.label_sizes: dict | None = None  # of the labels that `adapt` saw, by component
        self.missing: str | None = None
        self._full_jet = tf.function(self.equation.jet, reduce_retracing=True)
        # State is made here: a built model accepts none in `compile`.
        if self.projection:
            self._steps_drawn = self.add_weight(
                (), "zeros", "int64", trainable=False, name="steps_drawn"
            )
        names = labels.all_terms(order)
        self._loss_trackers = {name: keras.metrics.Mean(f"{name}_loss") for name in names}
        self._jet_metrics = jet_metrics(names)
        self._shown_metrics: tuple[str, ...] = ()
        # At once where the net knows its inputs: a built model accepts no more state.
        if (shape := self.equation.inputs.known_shape()) is not None:
            self.build(shape)

    def build(self, input_shape: Any) -> None:
        """Build the net, where it is not built yet, and the scaling around it.

        Args:
          input_shape: [B,*in], in the structure of the net's inputs.

        Raises:
          ValueError: for a net of several outputs, or of axes whose size is not known.
        """
        self.equation.build(input_shape, owner=type(self).__name__)

    @property
    def output_dims(self) -> tuple:
        """The shape of one value, out; empty before `build`."""
        return self.equation.output_dims

    def call(self, x: Any, training: bool | None = None) -> tf.Tensor:
        """Compute values [B,*out] at x [B,*in], in the user's units."""
        return self.equation.value(x, training)

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
        **kwargs: Any,
    ) -> None:
        """Configure as in Keras, with one loss and one weight for each term.

        Half-precision nets get Keras's dynamic loss scaling, as they do in Keras.

        Args:
          optimizer: Keras's.
          loss, loss_weights: a list in the order value, d1, ..., dJ; a dict of those names and
            jvp, vjp; or one for all. None leaves its term out. Default: SquaredNorm, weight 1.
            A weight may be a function of the step, such as a Keras schedule.
          metrics, weighted_metrics: Keras's, of values only.
          jet_metrics: some of "rmse", "r2", "cosine", of every term that has labels.
          component_weights: what multiplies each component's error before its loss: a dict of
            arrays [*out,*in × j] by name, or "rms", one over the root mean square of each
            component of the labels that `adapt` saw. Not with a projection.
          missing: "nan" leaves NaN entries of labels out. The losses' mean stays over the whole
            batch, so a term shrinks with them; `jet_metrics` do not. Keras's metrics, and r2,
            see rows without NaN only. None makes NaN an error.
          **kwargs: Keras's: jit_compile, run_eagerly, steps_per_execution.

        Raises:
          ValueError: for an unknown setting.
        """
        if missing not in (None, "nan"):
            raise ValueError(f'missing is None or "nan", got {missing!r}.')
        if component_weights is not None and self.projection:
            raise ValueError("component_weights needs full derivatives: projection=None.")
        if hasattr(self.target, "jet"):
            if kwargs.get("jit_compile") is True:
                raise ValueError("jit_compile=True: XLA cannot call a black box; leave it out.")
            kwargs["jit_compile"] = False
        self.missing = missing
        self.objective = Objective(self.order, loss, loss_weights, component_weights, missing)
        self.objective.balance(self.label_sizes)
        self._shown_metrics = refuse_unknown(jet_metrics)
        optimizer = loss_scaling.scale_half_precision(optimizer, self._flatten_layers())
        metrics = arguments.metrics_of_values(metrics, self.order)
        super().compile(optimizer, metrics=metrics, weighted_metrics=weighted_metrics, **kwargs)
        self._own_config = {"loss": loss, "loss_weights": loss_weights, "missing": missing}
        self._own_config["jet_metrics"] = list(self._shown_metrics)

    def adapt(
        self, x: Any, y: Any = None, batch_size: int = 1024, steps: int | None = None
    ) -> None:
        """Learn in z-scores of x and y, and by the chain rule of every derivative.

        x [B,D] is scaled component by component; x of more axes by one mean and one deviation,
        which keeps the geometry of images and positions. Without values, y's deviation is the
        typical length of its z-scored gradient. NaN entries are left out.

        `predict`, `predict_jet`, metrics, and the saved and the exported model keep the user's
        units. Losses and random directions are in z-scores, and so are metrics of output
        projections, which mix the outputs' units.

        Args:
          x, y: as for `fit`, arrays or a data set of batches, read once; with a live target x is
            enough.
          batch_size: rows of arrays that are read at once.
          steps: how many batches of a data set are read; None for all.

        Raises:
          ValueError: for no data, data without end, or an infinite entry.
        """
        batches = arguments.label_batches(x, y, batch_size, steps, f"{type(self).__name__}.adapt")
        # Projections are for targets whose full derivatives would be too many.
        order = 0 if self.projection else self.order
        known = (self.equation.known(self._cast(x), y, self.target, order) for x, y in batches)
        classes = self.compiled and self.objective.classes
        statistics = fit_statistics(known, lambda: self.output_dims, classes)
        self.scaling.set(*statistics.scales())
        self.label_sizes = statistics.label_sizes()
        # Component weights are constants of what was traced before.
        self.train_function = self.test_function = None
        if self.compiled:
            self.objective.balance(self.label_sizes)

    def predict_jet(self, x: Any, batch_size: int = 256) -> jets.Jet:
        """Compute values [B,*out] and full derivatives D^j [B,*out,*in × j] as NumPy arrays.

        Args:
          x: arrays, or a data set of batches, whose labels are left aside.
          batch_size: rows of arrays that are computed at once.

        Raises:
          ValueError: for a data set that is empty or has no end.
        """
        batches = arguments.input_batches(x, batch_size, f"{type(self).__name__}.predict_jet")
        parts = [self._full_jet(self._cast(batch)) for batch in batches]
        terms = zip(*((part.value, *part.derivatives) for part in parts), strict=True)
        value, *derivatives = map(np.concatenate, terms)
        return jets.Jet(value, tuple(derivatives))

    def export(self, filepath: str, **kwargs: Any) -> None:
        """Write a SavedModel that answers values and derivatives: see `export.export_jets`.

        The directory appears whole or not at all; an older SavedModel there is replaced.

        Args:
          filepath: the directory.

        Raises:
          ValueError: for Keras's other arguments, or a model that is not built.
        """
        arguments.refuse_export_options(self, kwargs)
        export.export_jets(
            [self.net, self.scaling],
            self.equation.served,
            self.equation.specs(),
            self.order,
            filepath,
        )

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
        gradients = tape.gradient(scaled, variables)
        if all(gradient is None for gradient in gradients):
            raise ValueError("the loss does not depend on any trainable weight of the net.")
        # The last bias has no part in derivatives: without value labels its gradient is None.
        pairs = [
            (tf.zeros_like(variable) if gradient is None else gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        self.optimizer.apply_gradients(pairs)
        return strategies.reducible_logs(self.compute_metrics(*comparison))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Compute the logs of a batch (x, y, sample_weight)."""
        _, comparison = self._step(data, training=False)
        return strategies.reducible_logs(self.compute_metrics(*comparison))

    def _step(self, data, training):
        """The loss of a batch, and the comparison that it comes from."""
        comparison = self._compare(data, training)
        loss = self.compute_loss(
            comparison.x, comparison.labels, comparison.predicted, comparison.weights, training
        )
        # The stock step's tracker; the loss is divided by the replicas for the gradient's sake.
        size = terms.batch_size(comparison.x)
        self._loss_tracker.update_state(loss * strategies.replicas(), sample_weight=size)
        return loss, comparison

    def _compare(self, data, training):
        """Labels and predictions of a batch, by name of term; a projection is an example."""
        comparison = self._compute_terms(data, training)
        return comparison.fold_projections(filter(self._is_projected, comparison.labels))

    def _compute_terms(self, data, training):
        batch = self.equation.read_batch(data)
        batch = batch._replace(x=self._cast(batch.x))
        view, classes = self._view(training), self.objective.classes
        return self.equation.compare(batch, view, self.target, classes, training)

    def compute_loss(
        self,
        x: Any,
        y: terms.Terms,
        y_pred: terms.Terms,
        sample_weight: terms.Terms | None = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Compute equation 1 over terms by name, plus the net's regularization losses.

        Args: the fields of a `terms.Comparison`, its projections folded into the batch.
        """
        step, dtype, size = self.optimizer.iterations, y_pred["value"].dtype, terms.batch_size(x)
        total = []
        for name, weight, value in self.objective.terms(y, y_pred, sample_weight or {}, step):
            self._loss_trackers[name].update_state(value, sample_weight=size)
            total.append(tf.cast(value, dtype) * tf.cast(weight, dtype))
        total += [tf.cast(loss, dtype) for loss in self.losses]
        return tf.add_n(total) / strategies.replicas()

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, tf.Tensor]:
        """Update metrics, Keras's of values only; those of terms without labels are left out.

        Args: the fields of a `terms.Comparison`, its projections folded into the batch.
        """
        if not isinstance(y_pred, dict):  # Keras builds its metrics from here
            y, y_pred = term_metrics.first_values(y, y_pred, self.order, self.objective.classes)
        for name, true in y.items():
            true, predicted = (
                terms.unscale_term(name, t, self.scaling, self.projection)
                for t in (true, y_pred[name])
            )
            weight = (sample_weight or {}).get(name)
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

        Args: Keras's, but:
          y: labels in any form of `model.labels`: values, (y, dy), or a dict by name.
          sample_weight: [B], for all terms, or a dict by name of term.
          shuffle: None shuffles arrays, and leaves data sets and generators as they are.

        Returns:
          The History of losses and metrics.

        Raises:
          ValueError: for NaN in labels (unless missing="nan"), or labels of another shape.
          FloatingPointError: for a loss that became NaN, before callbacks see the epoch's end.
        """
        arguments.refuse_labels_as_batch_size(batch_size, f"{type(self).__name__}.fit")
        y, sample_weight = self._normalize(y, sample_weight)
        if isinstance(validation_data, tuple | list):
            x_val, y_val, weight_val = keras.utils.unpack_x_y_sample_weight(validation_data)
            validation_data = x_val, *self._normalize(y_val, weight_val)
        pitfalls.warn_about_net(self.net, self.order)
        self._forget_traces_without_state()
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [StopAtNaN(), *keras.tree.flatten(callbacks or [])]
        arrays = batching.are_arrays(x)
        options = {
            "validation_split": validation_split,
            "validation_data": validation_data,
            # Keras's own default warns that it cannot shuffle a data set or a generator.
            "shuffle": arrays if shuffle is None else shuffle,
        }
        if arrays and steps_per_epoch:
            data = labels.as_batch(x, y, sample_weight, self.order)
            x, options = batching.repeat_arrays(data, batch_size or 32, options)
            y = sample_weight = batch_size = None
        try:
            return super().fit(
                x,
                y,
                batch_size,
                epochs,
                verbose,
                callbacks,
                class_weight=class_weight,
                sample_weight=sample_weight,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
                validation_freq=validation_freq,
                **options,
            )
        except FloatingPointError:
            self._refuse_nan_in(x, steps_per_epoch)
            raise

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
        """Compute losses and metrics as in Keras; labels and weights are as for `fit`.

        Raises:
          ValueError: for NaN in labels (unless missing="nan"), or labels of another shape.
        """
        arguments.refuse_labels_as_batch_size(batch_size, f"{type(self).__name__}.evaluate")
        y, sample_weight = self._normalize(y, sample_weight)
        self._forget_traces_without_state()
        results = super().evaluate(
            x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict, **kwargs
        )
        if np.isnan(keras.tree.flatten(results)).any():
            self._refuse_nan_in(x, steps)
        return results

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments for a saved model."""
        return saving.config(self)

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "SobolevModel":
        """Make a model from `get_config`'s arguments, or from those of older files."""
        return cls(**saving.deserialize(config, custom_objects))

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

    def _view(self, training):
        """How this step looks at derivatives: in full, or along directions drawn for it."""
        if not self.projection:
            return FullDerivatives()
        if not training:
            return self.projection.sample(0)
        step = tf.convert_to_tensor(self._steps_drawn) + 1
        self._steps_drawn.assign(step)
        return self.projection.sample(step)

    def _is_projected(self, name):
        """Whether a term has an axis of projections."""
        return name in labels.DIRECTIONAL or (self.projection is not None and name != "value")

    def _cast(self, x):
        """x as the equation takes it; builds a model that is not built yet."""
        x = self.equation.cast(x)
        if not self.built:
            if not self.net.built:
                self.net(keras.tree.map_structure(lambda t: keras.KerasTensor(t.shape, t.dtype), x))
            self.build(keras.tree.map_structure(lambda t: tuple(t.shape), x))
        return x

    def _normalize(self, y, sample_weight):
        """Labels and weights of arrays as Keras takes them; NaN is refused."""
        given = labels.normalize(y, self.order)
        if self.missing is None:
            refuse_nan(given, self.order)
        if not keras.tree.is_nested(y):  # one array, or None, which class_weight needs as it is
            return y, sample_weight
        if keras.tree.is_nested(sample_weight):
            weights = labels.weights_by_name(sample_weight, self.order)
            sample_weight = beside_labels(given, weights)
        return given or None, sample_weight

    def _refuse_nan_in(self, dataset, steps):
        """Looks for the NaN that a loss has shown; a data set may be endless."""
        if self.missing is None and isinstance(dataset, tf.data.Dataset):
            refuse_nan_in(dataset.take(steps or -1), self.order)

    def _forget_traces_without_state(self):
        """A new R2Score makes its state in a new trace only."""
        stateless = not all(map(has_state, self._jet_metrics.values()))
        if stateless and "r2" in self._shown_metrics:
            self.train_function = self.test_function = None
