"""SobolevModel: a Keras model that learns values and derivatives together (equation 1)."""

import dataclasses
import random

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import metrics as metrics_
from sobolev_tf import targets
from sobolev_tf.keras_support import batching, pitfalls, strategies
from sobolev_tf.keras_support import callbacks as callbacks_
from sobolev_tf.model import labels, term_metrics, terms
from sobolev_tf.model.jet_model import JetModel
from sobolev_tf.model.objective import Objective
from sobolev_tf.projections import FullDerivatives, Projection


@keras.saving.register_keras_serializable(package="sobolev_tf")
class SobolevModel(JetModel):
    """Trains `net` to match a function's value and its derivatives up to `order`.

    Equation 1: the loss is the sum over j = 0..J of w_j l_j(D^j m(x), D^j f(x)), with m the net
    and f what the labels, or the live target, say. Under a projection it is equation 2: order j
    compares P random directions per example, redrawn at every training step.

    net: any Keras model x [B,*in] -> [B,*out], one tensor out, built or not.
    target: `targets.Function`, `targets.Teacher`, `targets.FiniteDifferences` or any callable of
        tensors: `fit(x)` alone then takes its labels from here, inside the step. Labels that are
        given come first.
    wrt: for a net of several inputs, the name or names of those to differentiate; see
        `inputs.Inputs`.
    projection: None for full derivatives; "output" for D^j <m, v>; "input" for derivatives along
        v. With projections (P), contraction, unbiased, orthogonal and seed it is
        `projections.Projection`. Evaluation draws the same directions each time.

    Labels: see `labels`; losses and weights: see `compile`. Nothing is gradient-stopped but
    missing labels. Dropout and BatchNormalization run in training mode inside `fit`: the latter
    couples the rows of a batch, and derivatives then carry the other rows' share.

    >>> model = SobolevModel(keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]))
    >>> model.compile("adam", loss=["mse", "mae"], loss_weights=[1.0, 0.5])
    >>> x, y, dy = np.zeros([8, 2], "f"), np.zeros([8, 1], "f"), np.zeros([8, 2], "f")
    >>> sorted(model.fit(x, (y, dy), verbose=0).history)
    ['d1_loss', 'loss', 'value_loss']
    >>> model.predict_jet(x).derivatives[0].shape
    (8, 1, 2)
    """

    _serialized = ("net", "target")  # arguments that are objects

    def __init__(
        self,
        net: keras.Model,
        order: int = 1,
        target=None,
        wrt: str | list | None = None,
        projection: str | None = None,
        projections: int = 1,
        contraction: str = "distinct",
        unbiased: bool = False,
        orthogonal: bool = False,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(net, order, wrt=wrt, target=target, **kwargs)
        settings = Projection(
            projection or "input",
            projections,
            contraction,
            unbiased,
            orthogonal,
            random.randrange(2**31) if seed is None else seed,
        )
        self.projection = settings if projection else None
        self.missing = None
        # State is made here: a built model accepts none in `compile`.
        self._steps_drawn = projection and self.add_weight(
            (), "zeros", "int64", trainable=False, name="steps_drawn"
        )
        names = [*labels.names(order), *labels.DIRECTIONAL]
        self._loss_trackers = {name: keras.metrics.Mean(f"{name}_loss") for name in names}
        self._jet_metrics = metrics_.jet_metrics(names)
        self._shown_metrics = ()
        self._build_as_net()

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        *,
        jet_metrics=(),
        component_weights=None,
        missing: str | None = None,
        **kwargs,
    ):
        """Configure as in Keras, with one loss and one weight for each term.

        loss, loss_weights: a list in the order value, d1, ..., dJ; a dict of those names and
            jvp, vjp; or one for all. None leaves its term out. Default: SquaredNorm, weight 1.
            A weight may be a function of the step, such as a Keras schedule.
        metrics: Keras's, of values only.
        jet_metrics: some of "rmse", "r2", "cosine", of every term that has labels.
        component_weights: what multiplies each component's error before its loss: a dict of
            arrays [*out,*in × j] by name, or "rms", one over the root mean square of each
            component of the labels that `adapt` saw. Not under a projection.
        missing: "nan" leaves NaN entries of labels out; the losses' mean stays over the whole
            batch, so a term shrinks with them, `jet_metrics` do not. Keras's metrics, and r2,
            see only the rows without NaN. None makes NaN an error.

        Half-precision nets get Keras's dynamic loss scaling, as they do in Keras.
        """
        if missing not in (None, "nan"):
            raise ValueError(f'missing is None or "nan", got {missing!r}.')
        if component_weights is not None and self.projection:
            raise ValueError("component_weights needs full derivatives: projection=None.")
        self.missing = missing
        self.objective = Objective(self.order, loss, loss_weights, component_weights, missing)
        self.objective.balance(self.label_sizes)
        self._shown_metrics = metrics_.refuse_unknown(jet_metrics)
        if hasattr(self.target, "jet"):
            if kwargs.setdefault("jit_compile", False) is True:
                raise ValueError("jit_compile=True: XLA cannot call a black box; leave it out.")
            kwargs["jit_compile"] = False
        optimizer = keras.optimizers.get(optimizer)
        half = any(layer.compute_dtype == "float16" for layer in self._flatten_layers())
        if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        super().compile(optimizer, metrics=metrics, weighted_metrics=weighted_metrics, **kwargs)
        self._own_config = {"loss": loss, "loss_weights": loss_weights, "missing": missing}
        self._own_config["jet_metrics"] = list(self._shown_metrics)

    @property
    def metrics(self):
        """As in Keras, but without those not asked for, or that no label has built yet."""
        shown = {f"{name}_{each}" for name in self._loss_trackers for each in self._shown_metrics}
        hidden = [m for name, m in self._jet_metrics.items() if name not in shown]
        return [
            metric
            for metric in super().metrics
            if not any(metric is each for each in hidden) and metrics_.has_state(metric)
        ]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss, step = self._step(data, training=True)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        gradients = tape.gradient(scaled, variables)
        if all(g is None for g in gradients):
            raise ValueError("the loss does not depend on any trainable weight of the net.")
        # The last bias has no part in derivatives: without value labels its gradient is None.
        pairs = [
            (tf.zeros_like(v) if g is None else g, v)
            for g, v in zip(gradients, variables, strict=True)
        ]
        self.optimizer.apply_gradients(pairs)
        return strategies.reducible_logs(self.compute_metrics(*step))

    def test_step(self, data):
        return strategies.reducible_logs(self.compute_metrics(*self._step(data, training=False)[1]))

    def _step(self, data, training):
        """The loss of a batch, and (x, true, predicted, sample_weight) by name of term."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = self._cast(x)
        given = labels.by_name(y, self.order)
        asked = self._asked(given, training)
        order = max(map(labels.order_of, asked))
        view = self._view(training)

        z = self.scaling.points(self._inputs.point(x))
        along = terms.directions(y, z, self.output_dims, self.scaling)
        predicted = terms.predicted(self._net_at(x, training), z, order, view, along)
        classes = self.objective.classes
        true = terms.true(given, predicted, z, view, self.scaling, self._inputs, classes)
        if absent := [name for name in asked if name not in given]:
            if self.target is None:
                raise ValueError("no labels: give a y, or give the model a target.")
            live = terms.of_target(self._target_at(x), predicted, z, order, view, self.scaling)
            true |= {name: live[name] for name in absent}
        loss = self.compute_loss(x, true, predicted, sample_weight, training)
        # The stock step's tracker; the loss is divided by the replicas for the gradient's sake.
        size = tf.shape(z)[0]
        self._loss_tracker.update_state(loss * strategies.replicas(), sample_weight=size)
        return loss, (x, true, predicted, sample_weight)

    def _asked(self, given, training):
        """The terms to compare: those with labels; without any, all that a live target answers."""
        return list(given) or labels.names(self.order)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Equation 1 over terms by name, plus the net's regularisation losses."""
        total, dtype = [], y_pred["value"].dtype
        weights = labels.weights_by_name(sample_weight, self.order)
        for name, true in y.items():
            if not self.objective.takes(name):
                continue
            predicted, weight = y_pred[name], weights.get(name)
            if self._projected(name):
                # A mean over B and P: each projection counts as an example.
                true, predicted, weight = labels.merge(true, predicted, weight)
            value = self.objective.term(name, true, predicted, weight)
            self._loss_trackers[name].update_state(value, sample_weight=tf.shape(y_pred[name])[0])
            weight = self.objective.weight(name, self.optimizer.iterations)
            total.append(tf.cast(value, dtype) * tf.cast(weight, dtype))
        if not total:
            raise ValueError(f"no term has both a label and a loss: labels are {list(y)}.")
        total += [tf.cast(loss, dtype) for loss in self.losses]
        return tf.add_n(total) / strategies.replicas()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Metrics, Keras's of values only; what belongs to terms without labels is left out."""
        if not isinstance(y_pred, dict):
            # Keras builds its metrics from here, before it knows a live target's labels.
            y_pred, shape = {"value": y_pred}, y_pred.shape
            y = labels.by_name(y, self.order).get("value")
            classes = self.objective.classes
            if y is not None:
                y = {"value": labels.conform(y, shape, shape[1:], "value", classes)}
            y = y or y_pred
        weights = labels.weights_by_name(sample_weight, self.order)
        for name, true in y.items():
            predicted, weight = y_pred[name], weights.get(name)
            true, predicted = (
                terms.raw(name, t, self.scaling, self.projection) for t in (true, predicted)
            )
            if self._projected(name):
                true, predicted, weight = labels.merge(true, predicted, weight)
            for each in self._shown_metrics:
                if metric := self._jet_metrics.get(f"{name}_{each}"):
                    term_metrics.update(metric, true, predicted, weight, self.missing)
            if self.missing == "nan":
                true, predicted, weight = labels.observed(true, predicted, weight)
            if name == "value":
                super().compute_metrics(x, true, predicted, weight)
        absent = {
            f"{name}_{each}"
            for name in self._loss_trackers
            for each in ("loss", *metrics_.NAMES)
            if name not in y or (each == "loss" and not self.objective.takes(name))
        }
        results = self.get_metrics_result()
        return {name: value for name, value in results.items() if name not in absent}

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kw):
        """As in Keras; `fit(x)` alone where the model has a live target.

        With `steps_per_epoch`, arrays are shuffled and repeated without end, in full batches:
        an epoch then is as long as you like, which trains small data many times faster.

        Raises ValueError at a NaN in labels (unless missing="nan"), FloatingPointError where a
        loss became NaN; both before any callback sees the epoch's end.
        """
        self._refuse_nan(y)
        self._refuse_nan(keras.utils.unpack_x_y_sample_weight(kw.get("validation_data"))[1])
        pitfalls.warn_about_net(self.net, self.order)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [callbacks_.StopAtNaN(), *keras.tree.flatten(callbacks or [])]
        kw = self._prepared(y, kw)
        # Keras's own default warns that it cannot shuffle a dataset or a generator.
        kw.setdefault("shuffle", batching.are_arrays(x))
        if batching.are_arrays(x) and kw.get("steps_per_epoch"):
            batch = labels.structured(x, y, kw.pop("sample_weight", None), self.order)
            x, kw = batching.repeat_arrays(batch, batch_size or 32, kw)
            y = batch_size = None
        try:
            return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kw)
        except FloatingPointError:
            self._refuse_nan_in(x, kw.get("steps_per_epoch"))
            raise

    def evaluate(self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, **kw):
        """As in Keras. Raises ValueError at a NaN in labels (unless missing="nan")."""
        self._refuse_nan(y)
        kw = self._prepared(y, kw | {"sample_weight": sample_weight})
        results = super().evaluate(x, y, batch_size, verbose, **kw)
        if np.isnan(keras.tree.flatten(results)).any():
            self._refuse_nan_in(x, kw.get("steps"))
        return results

    def _takes_classes(self):
        return self.compiled and self.objective.classes

    def _on_adapt(self):
        if self.compiled:
            self.objective.balance(self.label_sizes)

    def _prepared(self, y, kw):
        """Arguments as Keras takes them; a new R2Score makes its state in a new trace alone."""
        if (
            not all(map(metrics_.has_state, self._jet_metrics.values()))
            and "r2" in self._shown_metrics
        ):
            self.train_function = self.test_function = None
        weights = kw.pop("sample_weight", None)
        return kw | {"sample_weight": labels.weights_like(y, weights, self.order)}

    def _refuse_nan(self, y):
        if self.missing is None:
            labels.refuse_nan(y, self.order)

    def _refuse_nan_in(self, x, steps):
        """Looks through a dataset for the NaN that a loss has shown; a dataset may be endless."""
        if self.missing is None and isinstance(x, tf.data.Dataset):
            labels.refuse_nan_in(x.take(steps or -1), self.order)

    def get_config(self):
        settings = dataclasses.asdict(self.projection or Projection("input"))
        del settings["side"], settings["length"]
        return {
            "name": self.name,
            "net": targets.serialize_net(self.net),
            "order": self.order,
            "target": targets.serialize(self.target),
            "wrt": self.wrt,
            "projection": self.projection and self.projection.side,
            "projections": settings.pop("count"),
            **settings,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        made = {
            key: keras.saving.deserialize_keras_object(config[key], custom_objects)
            for key in cls._serialized
            if key in config
        }
        return cls(**{**config, **made})

    def get_compile_config(self):
        if not self.compiled:
            return {}
        balanced = {"component_weights": self.objective.config()}
        own = keras.saving.serialize_keras_object(self._own_config | balanced)
        return {**super().get_compile_config(), **own}

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def _projected(self, name):
        """Whether a term has an axis of projections."""
        return name in labels.DIRECTIONAL or (self.projection and name != "value")

    def _view(self, training):
        """How this step looks at derivatives: whole, or along directions drawn for it."""
        if not self.projection:
            return FullDerivatives()
        step = tf.convert_to_tensor(self._steps_drawn) + 1 if training else 0
        if training:
            self._steps_drawn.assign(step)
        return self.projection.sample(step)
