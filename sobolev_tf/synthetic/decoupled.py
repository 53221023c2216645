"""Train the stages of a split network on synthetic gradients (section 4.3)."""

import functools

import keras
import tensorflow as tf

from sobolev_tf.jets import Jet, at_least_float32
from sobolev_tf.keras_support import export
from sobolev_tf.keras_support.loss_scaling import uses_loss_scaling
from sobolev_tf.keras_support.strategies import (
    DistributedModel,
    apply_replicas_sequentially,
    reducible_logs,
    replicas,
)
from sobolev_tf.losses import L1Norm, per_example, resolve
from sobolev_tf.synthetic import critics, splitting
from sobolev_tf.synthetic import placement as placing
from sobolev_tf.synthetic.critic_loss import METHODS, TERM_WEIGHTS, CriticLoss
from sobolev_tf.synthetic.diagnostics import CutDiagnostics, compare_when
from sobolev_tf.synthetic.layers import (
    LOSS_CLASSES,
    Cut,
    DirectGradient,
    SyntheticGradient,
    per_example_gradient,
    refuse_mask,
    replace_gradient,
    true_gradients,
)

CRITIC_UPDATES = ("sync", "sequential_async")


@keras.saving.register_keras_serializable("sobolev_tf")
class DecoupledModel(DistributedModel):
    """A network whose stages learn from critics instead of from the stages above them.

    Stage k is updated with SG_k(h_k, y) dh_k/dTheta in place of dL/dh_k dh_k/dTheta, where
    SG_k = dm_k/dh_k is the input gradient of a critic that predicts the loss of the whole
    network (section 4.3). The critic at each cut is trained, by its own optimizer, on

        l(m, L) + l_1(dm/dh, dL/dh),                       both L1, per example,

    L and dL/dh from the weights that the forward pass used. h, L and dL/dh are
    gradient-stopped in it: nothing of it reaches the stages. `call`, `predict` and `export`
    are the plain network, the critics play no part in them.

    Args:
      stages: a list of Keras models, as `split` returns it.
      critic: what builds a critic from (shape of h without B, number of outputs), such as
        `synthetic.imagenet_critic`; or a list of Keras models, one for each cut. A critic that
        is built here ends in the network's own final activation.
      method: "sobolev", "critic" (loss value only), "vfbn" (gradient only), "direct" (a module
        that gives the gradient itself, such as `synthetic.direct_module`), "noprop" (no signal
        below a cut: only the last stage learns) or "backprop" (the reference: no critics).
      gradient_target: "bootstrapped", what arrives at h from the next stage, or "true", full
        backpropagation, done for the critics' sake only.
      diagnose_every: synthetic and true gradients are compared on every so many steps; it
        costs a backward pass.
      label_weight: of |dm/dy - dL/dy|^2, a third term of the critics' loss (SM 4.1): under a
        cross-entropy it holds all classes against the network's. The paper leaves it out.
      placement: "stages", or a list of device names, puts copies of the stages, each with its
        critic, on devices of their own; under `compile(steps_per_execution=n)` n steps overlap.
        Critics then learn late: see `placement`. SG and dL/dh are not compared.

    The metrics of each cut are `diagnostics.CutDiagnostics`; cosine and norm ratio are those of
    the steps that compare, over the whole batch.

    BatchNormalization couples the examples of a batch; dL/dh is then an example's share of the
    gradient of the summed loss, all that the stage below needs.

    >>> from sobolev_tf.synthetic.splitting import split
    >>> from sobolev_tf.synthetic import dense_critic
    >>> inputs = keras.Input([4])
    >>> hidden = keras.layers.Dense(8, "relu", name="hidden")(inputs)
    >>> net = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    >>> model = DecoupledModel(split(net, at=["hidden"]), critic=dense_critic)
    >>> model.compile(
    ...     optimizer=keras.optimizers.SGD(0.1),
    ...     critic_optimizer=keras.optimizers.Adam(1e-3),
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> x, y = keras.random.uniform([32, 4]), keras.random.randint([32], 0, 3)
    >>> history = model.fit(x, y, verbose=0)
    >>> sorted(history.history)
    ['cut1_accuracy', 'cut1_cosine', 'cut1_gradient_loss', 'cut1_loss', 'cut1_norm_ratio', 'loss']
    """

    def __init__(
        self,
        stages,
        critic=None,
        method="sobolev",
        gradient_target="bootstrapped",
        diagnose_every=10,
        label_weight=0.0,
        placement=None,
        **kwargs,
    ):
        splitting.check(stages)
        _check_choice("method", method, METHODS)
        _check_choice("gradient_target", gradient_target, ("bootstrapped", "true"))
        if diagnose_every < 1:
            raise ValueError(f"diagnose_every is at least 1; given {diagnose_every}.")
        super().__init__(dtype=kwargs.pop("dtype", stages[0].dtype_policy), **kwargs)
        self.method = method
        self.gradient_target = gradient_target
        self.diagnose_every = diagnose_every
        self.label_weight = label_weight
        self.placed = placement is not None
        self.devices = placing.devices(placement, len(stages))
        direct = method == "direct"
        self.synthetic_gradients = []
        if label_weight and direct:
            raise ValueError("DecoupledModel: label_weight needs a critic, not method='direct'.")
        if method in TERM_WEIGHTS:
            layer = DirectGradient if direct else SyntheticGradient
            built = placing.move(critics.build(stages, critic, direct), self.devices)
            self.synthetic_gradients = [layer(each, None) for each in built]
        self.stages = placing.move(stages, self.devices)
        kinds = direct, not self.placed
        self.diagnostics = [
            CutDiagnostics(k + 1, *kinds) for k in range(len(self.synthetic_gradients))
        ]
        self.built = True

    @property
    def critics(self):
        """The critics' Keras models, one for each cut."""
        return [layer.critic for layer in self.synthetic_gradients]

    @property
    def bridges(self):
        """The synthetic gradients, by the name under which `.keras` files keep their weights."""
        return self.synthetic_gradients

    @property
    def network_variables(self):
        """What `optimizer` updates: all trainable weights; in noprop, the last stage's."""
        trained = self.stages[-1:] if self.method == "noprop" else self.stages
        return [variable for stage in trained for variable in stage.trainable_variables]

    @property
    def critic_variables(self):
        """The trainable variables that `critic_optimizer` updates."""
        return [variable for c in self.critics for variable in c.trainable_variables]

    @property
    def losses(self):
        """The network's own, such as L2; the critics' go into their objective."""
        return [loss for stage in self.stages for loss in stage.losses]

    def call(self, x, training=None):
        for stage, device in zip(self.stages, self.devices, strict=True):
            with placing.on(device):
                x = stage(x, training=training)
        return x

    def network(self):
        """The plain network as a Keras model of its own; it shares the weights, if not placed."""
        stages = placing.move(self.stages, ["CPU:0" if self.placed else None] * len(self.stages))
        start = x = stages[0].inputs[0] if len(stages[0].inputs) == 1 else stages[0].inputs
        for stage in stages:
            x = stage(x)
        return keras.Model(start, x)

    def export(self, filepath):
        """Writes the plain network, without critics, as a SavedModel with `serving_default`."""
        export.export_network(self.network(), filepath)

    def compile(
        self,
        optimizer="sgd",
        critic_optimizer="adam",
        loss=None,
        metrics=None,
        critic_losses=None,
        critic_loss_weights=(1.0, 1.0),
        critic_updates="sequential_async",
        **kwargs,
    ):
        """As Keras's `compile`, with an optimizer and losses of the critics' own.

        Args:
          loss: a Keras loss of one output, averaged over the batch ("sum_over_batch_size").
          critic_optimizer: any Keras optimizer or its name.
          critic_losses: l of the values and l_1 of the gradients; `L1Norm` both by default, a
            sum over dimensions as the paper prints it.
          critic_loss_weights: of l and l_1. A sum over a wide h can outweigh l by far, and a
            critic that fits noisy gradients by none at all hands nothing down.
          critic_updates: under several replicas, "sync" averages the critics' gradients, and
            "sequential_async" applies each replica's own, one after another (SM 4).

        Raises:
          ValueError: if `loss` is missing, or is not a mean over the batch.
        """
        if loss is None or isinstance(loss, (list, dict)):
            raise ValueError(f"compile: expected one loss, for the network's output; given {loss}.")
        if kwargs.get("loss_weights") is not None:
            raise ValueError("compile: loss_weights is for several losses; here there is one.")
        _check_choice("critic_updates", critic_updates, CRITIC_UPDATES)
        settings = critic_losses or (L1Norm(), L1Norm()), critic_loss_weights, self.label_weight
        self.critic_loss = CriticLoss.of(self.method, *settings)
        loss = resolve(loss)
        loss = LOSS_CLASSES[loss]() if loss in LOSS_CLASSES else loss
        self.critic_updates = critic_updates
        if self.placed:
            kwargs.setdefault("jit_compile", False)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)
        self.optimizer.build(self.network_variables)
        self.critic_optimizer = None
        if self.synthetic_gradients:
            self.critic_optimizer = keras.optimizers.get(critic_optimizer)
            if uses_loss_scaling(self.optimizer) and not uses_loss_scaling(self.critic_optimizer):
                self.critic_optimizer = keras.optimizers.LossScaleOptimizer(self.critic_optimizer)
            self.critic_optimizer.build(self.critic_variables)
        for layer in self.synthetic_gradients:
            layer.loss = loss
        self._critic_loss_weights = [float(weight) for weight in critic_loss_weights]
        if self.placed:
            placing.check(self)

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self.critic_optimizer is not None:
            serialize = keras.saving.serialize_keras_object
            config["critic_optimizer"] = serialize(self.critic_optimizer)
            config["critic_losses"] = [serialize(each) for each in self.critic_loss.losses]
            config["critic_loss_weights"] = self._critic_loss_weights
            config["critic_updates"] = self.critic_updates
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "stages": [serialize(stage) for stage in self.stages],
            "critic": [serialize(critic) for critic in self.critics],
            "method": self.method,
            "gradient_target": self.gradient_target,
            "diagnose_every": self.diagnose_every,
            "label_weight": self.label_weight,
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        parts = {
            name: [deserialize(part) for part in config[name]] for name in ("stages", "critic")
        }
        return cls(**{**config, **parts})

    def train_step(self, data):
        if self.placed:
            return placing.train(self, [data])
        x, y, sample_weight = self._unpack(data)
        share = self._example_weights(x, sample_weight)
        # What the critics compute on the way up, for their own loss:
        critic_tape = tf.GradientTape()
        with tf.GradientTape(persistent=True) as tape:
            outputs, cuts = self._forward(x, y, share, critic_tape)
            loss = self._compute_loss(x, y, outputs, sample_weight, training=True)
            objective = self.optimizer.scale_loss(loss)

        variables = self.network_variables
        gradients, arriving = tape.gradient(objective, [variables, [cut.h_out for cut in cuts]])
        if self.synthetic_gradients:
            true = functools.partial(true_gradients, tape, cuts, arriving)
            if self.gradient_target == "true":
                arriving = true()
            value = per_example(self.loss, y, at_least_float32(outputs))
            targets = [
                Jet(value, (per_example_gradient(gradient, share),)) for gradient in arriving
            ]
            self._update_critics(critic_tape, y, outputs, cuts, targets, sample_weight)
            due = tf.convert_to_tensor(self.optimizer.iterations) % self.diagnose_every == 0
            compare_when(
                due, self.diagnostics, cuts, true, share, uses_loss_scaling(self.optimizer)
            )
        self.optimizer.apply(gradients, variables)  # or none, if frozen

        return self._update_logs(loss, x, y, outputs, sample_weight)

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            super().make_train_function(force)
            if self.placed:
                self.train_function = placing.unrolled(self, self.train_function)

    def test_step(self, data):
        results = super().test_step(data)
        return reducible_logs(
            {name: v for name, v in results.items() if not name.startswith("cut")}
        )

    @property
    def metrics(self):
        """As in Keras, with those of the cuts that the loss allows."""
        loss = getattr(self, "loss", None)
        return [*super().metrics, *(m for cut in self.diagnostics for m in cut.metrics(loss))]

    def _unpack(self, data):
        """x, y and sample_weight or None, of a batch.

        Raises ValueError without labels, or where an example has several weights.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if y is None:
            raise ValueError("fit: DecoupledModel needs labels, as fit(x, y) or in the data set.")
        if sample_weight is not None and list(sample_weight.shape[1:]) not in ([], [1]):
            raise ValueError(
                f"fit: sample_weight is [B], one number an example; given {sample_weight.shape}."
            )
        y = tf.convert_to_tensor(y)  # NumPy's from an eager train_on_batch
        if len(y.shape) == 1 and self.stages[-1].output_shape[1:] == (1,):
            y = y[:, None]  # As Keras does inside its losses; plain functions would broadcast.
        return x, y, sample_weight

    def _update_logs(self, loss, x, y, outputs, sample_weight):
        """A step's logs."""
        self._loss_tracker.update_state(loss * replicas(), sample_weight=_batch_size(x))
        return reducible_logs(self.compute_metrics(x, y, outputs, sample_weight=sample_weight))

    def _example_weights(self, x, sample_weight):
        """What multiplies an example's loss in the objective: 1/B, its weight, loss scaling."""
        share = self.optimizer.scale_loss(1.0) / (_batch_size(x) * replicas())
        if sample_weight is not None:
            share *= tf.reshape(tf.cast(sample_weight, share.dtype), [-1])
        return share

    def _forward(self, x, y, share, critic_tape):
        """The network's outputs, and every cut on the way."""
        cuts = []
        for k, stage in enumerate(self.stages[:-1]):
            below = above = stage(x, training=True)
            if self.method != "backprop":
                refuse_mask(below)
            prediction = outputs = None
            if self.synthetic_gradients:
                with critic_tape:
                    prediction, outputs = self.synthetic_gradients[k].jet_and_outputs(
                        below, y, training=True
                    )
                above = replace_gradient(below, prediction.derivatives[0], share)
            elif self.method == "noprop":
                above = tf.stop_gradient(below)
            cuts.append(Cut(below, above, prediction, outputs))
            x = above
        outputs = self.stages[-1](x, training=True)
        return refuse_mask(outputs) if self.synthetic_gradients else outputs, cuts

    def _update_critics(self, tape, y, outputs, cuts, targets, sample_weight):
        """One step on l(m, L) + l_1(SG, dL/dh), summed over the cuts."""
        in_turn = self.critic_updates == "sequential_async" and replicas() > 1
        finite_only = uses_loss_scaling(self.optimizer)
        with tape:
            objective = sum(loss for critic in self.critics for loss in critic.losses)
            for cut, target, diagnostics in zip(cuts, targets, self.diagnostics, strict=True):
                track = functools.partial(diagnostics.track, finite_only=finite_only)
                objective += self.critic_loss.objective(
                    cut, target, self.loss, y, outputs, sample_weight, track
                )
                diagnostics.track_accuracy(self.loss, y, cut.outputs)
            objective *= 1 if in_turn else 1 / replicas()
            objective = self.critic_optimizer.scale_loss(objective)
        gradients = tape.gradient(objective, self.critic_variables)
        if in_turn:
            apply_replicas_sequentially(self.critic_optimizer, gradients, self.critic_variables)
        else:
            self.critic_optimizer.apply(gradients, self.critic_variables)  # or none, if frozen


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(f"DecoupledModel: {name} is one of {', '.join(choices)}; given {value!r}.")


def _batch_size(x):
    return tf.cast(tf.shape(keras.tree.flatten(x)[0])[0], keras.config.floatx())
