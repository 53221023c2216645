"""SobolevModel: a Keras model that learns values and derivatives together (equation 1)."""

import math
import random
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import callbacks as callbacks_
from sobolev_tf import export, jets, labels, losses, targets


@keras.saving.register_keras_serializable(package="sobolev_tf")
class SobolevModel(keras.Model):
    """Trains `net` to match a function's value and its derivatives up to `order`.

    Equation 1: the loss is the sum over j = 0..J of w_j l_j(D^j m(x), D^j f(x)), with m the net
    and f what the labels, or the live target, say. Under a projection it is equation 2: order j
    compares P random directions per example, redrawn at every training step.

    net: any Keras model x [B,*in] -> [B,*out], one tensor in and one out, built or not.
    target: `targets.Function`, `targets.Teacher`, or any callable of tensors: `fit(x)` alone
        then takes its labels from here, inside the step. Labels that are given come first.
    projection: None for full derivatives; "output" for D^j <m, v>; "input" for
        D^j m[v1, ..., vj], with independent directions.
    projections: P, for each example.
    unbiased: directions of length √n instead of 1, n the size of the projected side. A squared
        loss then has the full loss's expectation, at any order since v1, ..., vj are
        independent; no factor does this for losses that are not squared.
    seed: of the directions. Evaluation draws the same ones each time, so that epochs compare.

    Labels: see `labels`; losses and weights: see `compile`. Nothing is gradient-stopped but
    missing labels. Dropout and BatchNormalization run in training mode inside `fit`: the latter
    couples the rows of a batch, and derivatives then carry the other rows' share. Under
    projection="input" the net runs once for each projection: statistics move P times a step, and
    each projection has a dropout mask of its own.

    >>> model = SobolevModel(keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]))
    >>> model.compile("adam", loss=["mse", losses.SquaredNorm()], loss_weights=[1.0, 0.5])
    >>> x, y, dy = np.zeros([8, 2], "f"), np.zeros([8, 1], "f"), np.zeros([8, 2], "f")
    >>> sorted(model.fit(x, (y, dy), verbose=0).history)
    ['d1_loss', 'loss', 'value_loss']
    >>> model.predict_jet(x).derivatives[0].shape
    (8, 1, 2)
    """

    def __init__(
        self,
        net: keras.Model,
        order: int = 1,
        target=None,
        projection: str | None = None,
        projections: int = 1,
        unbiased: bool = False,
        seed: int | None = None,
        **kwargs,
    ):
        if order < 0 or projections < 1:
            raise ValueError(f"need order >= 0 and projections >= 1, got {order}, {projections}.")
        if projection not in (None, "output", "input"):
            raise ValueError(f'projection is None, "output" or "input", got {projection!r}.')
        # Transparent to dtypes: the net itself decides what to cast.
        super().__init__(autocast=False, **kwargs)
        self.net = net
        self.order = order
        self.target = target
        self.projection = projection
        self.projections = projections
        self.unbiased = unbiased
        self.seed = random.randrange(2**31) if seed is None else seed
        self.missing = None
        # State is made here: a built model accepts none in `compile`.
        self._steps_drawn = projection and self.add_weight(
            (), "zeros", "int64", trainable=False, name="steps_drawn"
        )
        self._order_trackers = {n: keras.metrics.Mean(f"{n}_loss") for n in labels.names(order)}
        self._full_jet = tf.function(self._full_jet_of, reduce_retracing=True)
        if net.built and getattr(net, "inputs", None):
            self.build(net.input_shape)

    def build(self, input_shape):
        if not isinstance(input_shape, tuple) or not all(
            isinstance(n, int | None) for n in input_shape
        ):
            raise ValueError(f"SobolevModel takes one input tensor, got shapes {input_shape}.")
        if not self.net.built:
            self.net(keras.KerasTensor(input_shape))
        if len(getattr(self.net, "outputs", None) or [None]) > 1:
            raise ValueError(
                f"SobolevModel takes a net of one output, got {self.net.output_shape}."
            )
        self._input_dims = input_shape[1:]

    def call(self, x, training=None):
        return self.net(x, training=training)

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        missing: str | None = None,
        **kwargs,
    ):
        """Configure as in Keras, with one loss and one weight for each order.

        loss, loss_weights: a list in the order value, d1, ..., dJ; a dict of those names; or
            one for all. None leaves its order out. Default: SquaredNorm, weight 1.
        metrics: of values only.
        missing: "nan" leaves NaN entries of labels out, while the losses' mean stays over the
            whole batch; metrics see only the rows without NaN. None makes NaN an error.

        Half-precision nets get Keras's dynamic loss scaling, as they do in Keras.
        """
        if missing not in (None, "nan"):
            raise ValueError(f'missing is None or "nan", got {missing!r}.')
        chosen = labels.per_order(loss, self.order, losses.SquaredNorm(), "loss")
        self._order_losses = {n: each and losses.resolve(each) for n, each in chosen.items()}
        self._order_weights = labels.loss_weights(loss_weights, self.order)
        # What either leaves out is not computed and not logged.
        self._order_losses = {
            n: each if self._order_weights[n] is not None else None
            for n, each in self._order_losses.items()
        }
        self.missing = missing
        optimizer = keras.optimizers.get(optimizer)
        half = any(layer.compute_dtype == "float16" for layer in self._flatten_layers())
        if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        super().compile(optimizer, metrics=metrics, weighted_metrics=weighted_metrics, **kwargs)
        self._own_config = {"loss": loss, "loss_weights": loss_weights, "missing": missing}

    @property
    def metrics(self):
        """As in Keras, but without metrics that no value label has built yet."""
        return [metric for metric in super().metrics if getattr(metric, "built", True)]

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
        return self.compute_metrics(*step)

    def test_step(self, data):
        _, step = self._step(data, training=False)
        return self.compute_metrics(*step)

    def _step(self, data, training):
        """The loss of a batch, and (x, true, predicted, sample_weight) by name of order."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = self._as_input(x)
        given = labels.by_name(y, self.order)
        order = max(map(labels.order_of, given), default=self.order)
        draw = self._directions(training)

        predicted = self._jet(lambda x: self(x, training=training), x, order, draw)
        predicted = _by_name(predicted)
        if given:
            true = self._view(given, x, predicted, draw)
        elif self.target is not None:
            true = _by_name(self._jet(self._target_like(predicted["value"]), x, order, draw))
        else:
            raise ValueError("no labels: give a y, or give the model a target.")
        loss = self.compute_loss(x, true, predicted, sample_weight, training)
        # The stock step's tracker; the loss is divided by the replicas for the gradient's sake.
        self._loss_tracker.update_state(loss * _replicas(), sample_weight=tf.shape(x)[0])
        return loss, (x, true, predicted, sample_weight)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Equation 1 over dicts by name of order, plus the net's regularisation losses."""
        terms, dtype = [], y_pred["value"].dtype
        weights = labels.weights_by_name(sample_weight, self.order)
        for name, true in y.items():
            loss, predicted, weight = self._order_losses[name], y_pred[name], weights.get(name)
            if loss is None:
                continue
            if self.projection and name != "value":
                # A mean over B and P: each projection counts as an example.
                true, predicted = labels.merge(true), labels.merge(predicted)
                weight = None if weight is None else tf.repeat(weight, self.projections, axis=0)
            if self.missing == "nan":
                true, weight = labels.leave_missing_out(true, predicted, weight)
            value = losses.batch_mean(losses.per_example(loss, true, predicted), weight)
            self._order_trackers[name].update_state(value, sample_weight=tf.shape(x)[0])
            terms.append(self._order_weights[name] * tf.cast(value, dtype))
        if not terms:
            raise ValueError(f"no order has both a label and a loss: labels are {list(y)}.")
        return sum(terms + [tf.cast(loss, dtype) for loss in self.losses]) / _replicas()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Keras's metrics, of values only; the losses of orders without labels are left out."""
        predicted = y_pred["value"] if isinstance(y_pred, dict) else y_pred
        # Keras also builds metrics from here, before it knows a live target's labels.
        y = {"value": predicted} if y is None else labels.by_name(y, self.order)
        if "value" in y:
            weight = labels.weights_by_name(sample_weight, self.order).get("value")
            true = labels.conform(y["value"], predicted.shape, predicted.shape[1:], "value")
            if self.missing == "nan":
                true, predicted, weight = labels.observed(true, predicted, weight)
            super().compute_metrics(x, true, predicted, weight)
        lost = {name for name, loss in self._order_losses.items() if loss is None}
        absent = {f"{name}_loss" for name in self._order_trackers if name not in y or name in lost}
        results = self.get_metrics_result()
        return {name: value for name, value in results.items() if name not in absent}

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kw):
        """As in Keras; `fit(x)` alone where the model has a live target.

        Raises ValueError at a NaN in labels (unless missing="nan"), FloatingPointError where a
        loss became NaN; both before any callback sees the epoch's end.
        """
        self._refuse_nan(y)
        self._refuse_nan(keras.utils.unpack_x_y_sample_weight(kw.get("validation_data"))[1])
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [callbacks_.StopAtNaN(), *keras.tree.flatten(callbacks or [])]
        # Keras's own default warns that it cannot shuffle a dataset or a generator.
        kw.setdefault("shuffle", not isinstance(x, tf.data.Dataset | Iterator))
        try:
            return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kw)
        except FloatingPointError:
            self._refuse_nan_in(x, kw.get("steps_per_epoch"))
            raise

    def evaluate(self, x=None, y=None, *args, **kw):
        """As in Keras. Raises ValueError at a NaN in labels (unless missing="nan")."""
        self._refuse_nan(y)
        results = super().evaluate(x, y, *args, **kw)
        if np.isnan(keras.tree.flatten(results)).any():
            self._refuse_nan_in(x, kw.get("steps"))
        return results

    def _refuse_nan(self, y):
        if self.missing is None:
            labels.refuse_nan(y, self.order)

    def _refuse_nan_in(self, x, steps):
        """Looks through a dataset for the NaN that a loss has shown; a dataset may be endless."""
        if self.missing is None and isinstance(x, tf.data.Dataset):
            labels.refuse_nan_in(x.take(steps or -1), self.order)

    def predict_jet(self, x, batch_size: int = 256) -> jets.Jet:
        """Value [B,*out] and full derivatives D^j [B,*out,*in × j] at x, as NumPy arrays."""
        x = self._as_input(keras.ops.convert_to_tensor(x))
        starts = range(0, max(len(x), 1), batch_size)
        parts = [self._full_jet(x[i : i + batch_size]) for i in starts]
        value, *derivatives = map(
            np.concatenate, zip(*((p.value, *p.derivatives) for p in parts), strict=True)
        )
        return jets.Jet(value, tuple(derivatives))

    def export(self, filepath, **kwargs):
        """Write a SavedModel that answers values and derivatives: see `export.export_jets`.

        The directory appears whole or not at all; an older SavedModel there is replaced.
        """
        if kwargs:
            raise ValueError(f"export takes a directory alone, got {', '.join(kwargs)}.")
        if not self.built:
            raise ValueError("export needs a built model: call it, fit it or build it first.")
        spec = tf.TensorSpec([None, *self._input_dims], self._input_dtype(), name="x")
        export.export_jets(self.net, spec, self.order, filepath)

    def get_config(self):
        return {
            "name": self.name,
            "net": keras.saving.serialize_keras_object(self.net),
            "order": self.order,
            "target": targets.serialize(self.target),
            "projection": self.projection,
            "projections": self.projections,
            "unbiased": self.unbiased,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        made = {
            key: keras.saving.deserialize_keras_object(config[key], custom_objects)
            for key in ("net", "target")
        }
        return cls(**{**config, **made})

    def get_compile_config(self):
        if not self.compiled:
            return {}
        own = keras.saving.serialize_keras_object(self._own_config)
        return {**super().get_compile_config(), **own}

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def _input_dtype(self):
        if getattr(self.net, "inputs", None):
            return self.net.inputs[0].dtype
        return self.net.variable_dtype or keras.config.floatx()

    def _as_input(self, x):
        """x in the net's dtype: cast once out here, derivatives are with respect to the same x."""
        return tf.cast(jets.differentiable(x), self._input_dtype())

    def _jet(self, fn, x, order, draw) -> jets.Jet:
        """fn's jet as this model looks at it: whole, or along the directions of `draw`."""
        if self.projection is None or order == 0:
            return jets.jet(fn, x, order)
        if self.projection == "output":
            return jets.output_jet(fn, x, order, lambda value: draw(value, 0))
        return jets.input_jet(fn, x, [draw(x, j) for j in range(order)])

    def _view(self, given, x, predicted, draw) -> dict:
        """Labels checked, and looked at along the same directions as the net's jet."""
        true, value = {}, predicted["value"]
        for name, label in given.items():
            j = labels.order_of(name)
            expected = [*value.shape, *list(x.shape[1:]) * j]
            label = labels.conform(label, expected, value.shape[1:], name)
            # Integers among the value labels may be class numbers: their loss decides.
            if j or label.dtype.is_floating:
                label = tf.cast(label, predicted[name].dtype)
            if j and self.projection == "output":
                label = jets.contract_outputs(label, draw(value, 0))
            if j and self.projection == "input":
                label = jets.contract_inputs(label, [draw(x, i) for i in range(j)])
            true[name] = label
        return true

    def _target_like(self, value):
        """The live target as a function whose values have the net's shape, or an error."""
        return lambda x: labels.conform(self.target(x), value.shape, value.shape[1:], "target")

    def _directions(self, training):
        """draw(like [B,*dims], j) -> the step's j-th directions [B,P,*dims]."""
        if self.projection is None:
            return None
        step = tf.convert_to_tensor(self._steps_drawn) + 1 if training else 0
        if training:
            self._steps_drawn.assign(step)
        # Every replica must look along directions of its own, so its number is folded in.
        replica = tf.distribute.get_replica_context()
        seed = tf.stack([tf.constant(self.seed, tf.int64), step])
        seed = tf.random.fold_in(seed, replica.replica_id_in_sync_group if replica else 0)

        drawn = {}

        def draw(like, j):
            # Once for net and labels: other dtypes would draw other numbers from the same seed.
            if j not in drawn:
                radius = math.sqrt(like.shape[1:].num_elements()) if self.unbiased else 1.0
                key = tf.random.fold_in(seed, j)
                drawn[j] = jets.sphere(like, self.projections, key, radius)
            return drawn[j]

        return draw

    def _full_jet_of(self, x):
        return jets.jet(lambda x: self(x, training=False), x, self.order)


def _by_name(jet):
    """A jet as a dict by name of order; half precision is compared in float32."""
    terms = [jet.value, *jet.derivatives]
    terms = [tf.cast(t, tf.float32) if t.dtype.size < 4 else t for t in terms]
    return dict(zip(labels.names(len(jet.derivatives)), terms, strict=True))


def _replicas():
    return tf.distribute.get_strategy().num_replicas_in_sync
