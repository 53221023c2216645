"""DecoupledModel: train the stages of a network on synthetic gradients (section 4.3)."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import require, row_share
from sobolev_tf.keras_support import compile_settings, export, options
from sobolev_tf.keras_support.errors import errors_of
from sobolev_tf.keras_support.loss_scaling import scale_half_precision, scaled_like
from sobolev_tf.losses import L1Norm
from sobolev_tf.synthetic import critics, placed_trainer, splitting
from sobolev_tf.synthetic import placement as placing
from sobolev_tf.synthetic.critic_loss import CriticLoss
from sobolev_tf.synthetic.critic_updates import CriticUpdates
from sobolev_tf.synthetic.decoupled_steps import DecoupledSteps
from sobolev_tf.synthetic.diagnostics import CutDiagnostics
from sobolev_tf.synthetic.layers import DirectGradient, SyntheticGradient
from sobolev_tf.synthetic.methods import TERM_WEIGHTS, check_method
from sobolev_tf.synthetic.network_loss import network_loss
from sobolev_tf.synthetic.trainer import network_variables


@keras.saving.register_keras_serializable("sobolev_tf")
class DecoupledModel(DecoupledSteps):
    """A network whose stages learn from critics instead of from the stages above them.

    Stage k is updated with SG_k(h_k, y) dh_k/dTheta instead of dL/dh_k dh_k/dTheta, where
    SG_k = dm_k/dh_k is the input gradient of a critic m_k that predicts the loss L of the whole
    network from the activations h_k (section 4.3). A `SyntheticGradient` layer at each cut does
    this. Each critic has an optimizer of its own, and minimizes

        l(m, L) + l_1(dm/dh, dL/dh),                       both L1, per example,

    where L and dL/dh belong to the weights that the forward pass used. h, L and dL/dh are
    gradient-stopped in this loss: none of it reaches the stages. `call`, `predict` and `export`
    compute the plain network, without critics.

    The metrics of each cut are those of `diagnostics.CutDiagnostics`; cosine and norm ratio are
    computed over the whole batch (of each replica), on the steps that `diagnose_every` chooses.

    BatchNormalization couples the examples of a batch; dL/dh of an example is then the gradient of
    the summed loss with respect to its h, which is what the stage below needs.

    Regularizers of weights act as in Keras. L is without penalties; a loss that a layer adds of its
    activations (an activity regularizer, `add_loss`) is refused above the first cut, unless
    `method` is "noprop" or "backprop".

    Args:
      stages: a list of Keras models, as `split` returns it.
      critic: a function (shape of h without B, number of outputs) -> critic, such as
        `synthetic.imagenet_critic`; or a list of Keras models, one for each cut. Critics made by
        a function get the network's final activation.
      method: "sobolev"; "critic" (the critic learns the loss only); "vfbn" (the gradient only);
        "direct" (a module predicts the gradient itself, such as `synthetic.direct_module`);
        "noprop" (no gradient passes a cut: only the last stage learns); "backprop" (no critics);
        or the controls "random" and "flipped", see `controls.replacement`.
      gradient_target: the gradient that critics learn: "bootstrapped", which arrives at h from the
        next stage, or "true", by a full backpropagation that only the critics use.
      diagnose_every: synthetic and true gradients are compared every so many steps, which costs a
        backward pass.
      placement: "stages", or a list of device names: copies the stages, each with its critic, to
        devices of their own. With `compile(steps_per_execution=n)`, n steps overlap. Critics then
        learn with a delay, see `placed_trainer`, and synthetic and true gradients are not compared.
        A saved model does not keep its placement, since devices belong to a machine.

    Raises:
      ValueError: stages or critics do not fit each other, or an option is unknown.

    Example:

    >>> from sobolev_tf.synthetic import dense_critic, split
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

    _label_weight_in_constructor = 0.0

    def __init__(
        self,
        stages: Sequence[keras.Model],
        critic: Callable | keras.Model | Sequence[keras.Model] | None = None,
        method: str = "sobolev",
        *,
        gradient_target: str = "bootstrapped",
        diagnose_every: int = 10,
        placement: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        caller, decoupled = type(self).__name__, DecoupledModel
        options.refuse_unknown(caller, kwargs, decoupled.__init__, decoupled.compile)
        require.whole_number(caller, "diagnose_every", diagnose_every, at_least=1)
        check_method(caller, method, placement is not None)
        require.one_of(caller, "gradient_target", gradient_target, ("bootstrapped", "true"))
        with errors_of(caller):
            splitting.check(stages)
            direct = method == "direct"
            built = critics.build(stages, critic, direct) if method in TERM_WEIGHTS else []
            splitting.refuse_shared_weights(stages, built)
            devices = placing.devices(placement, len(stages))
        super().__init__(dtype=kwargs.pop("dtype", stages[0].dtype_policy), **kwargs)
        self.method = method
        self.gradient_target = gradient_target
        self.diagnose_every = diagnose_every
        self.placed = placement is not None
        self.devices = devices
        layer = DirectGradient if direct else SyntheticGradient
        # Critics get the network's loss from `compile`; they exist before, so that they are saved.
        self.synthetic_gradients = [
            layer(model) for model in placing.copy_to_devices(built, devices)
        ]
        self.stages = placing.copy_to_devices(stages, devices)
        self.diagnostics = [
            CutDiagnostics(k + 1, direct, compared=not self.placed) for k in range(len(built))
        ]
        self.built = True

    @property
    def critics(self) -> list[keras.Model]:
        """The critics, one Keras model for each cut."""
        return [layer.critic for layer in self.synthetic_gradients]

    @property
    def bridges(self) -> list[keras.layers.Layer]:
        """`synthetic_gradients`, under the name by which `.keras` files store their weights."""
        return self.synthetic_gradients

    @property
    def network_variables(self) -> list[keras.Variable]:
        """The variables that `optimizer` updates: all trainable ones, or only the last stage's."""
        return network_variables(self.stages, self.method)

    @property
    def critic_variables(self) -> list[keras.Variable]:
        """The trainable variables that `critic_optimizer` updates."""
        return [variable for c in self.critics for variable in c.trainable_variables]

    @property
    def losses(self) -> list[tf.Tensor]:
        """The network's regularization losses, such as L2; those of critics belong to critics."""
        return [loss for stage in self.stages for loss in stage.losses]

    def call(self, x: Any, training: bool | None = None) -> tf.Tensor:
        """Compute the network's outputs [B,*out]."""
        for stage, device in zip(self.stages, self.devices, strict=True):
            with placing.device_scope(device):
                x = stage(x, training=training)
        return x

    def network(self) -> keras.Model:
        """Return the plain network; it shares the weights, unless stages have a placement."""
        device = "CPU:0" if self.placed else None
        return splitting.join(placing.copy_to_devices(self.stages, [device] * len(self.stages)))

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the plain network, without critics, as a SavedModel with `serving_default`.

        Args:
          filepath: the directory, which appears whole or not at all. It may exist only if it is a
            SavedModel, which is replaced.
          format: "tf_saved_model", the only one.
          verbose: whether to print the path at the end. None: no.

        Raises:
          ValueError: another format or another argument of Keras's `export` is passed.
        """
        export.refuse_options(self, format, kwargs)
        export.export_network(self.network(), filepath, bool(verbose))

    @errors_of("compile")
    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str = "sgd",
        critic_optimizer: keras.optimizers.Optimizer | str = "adam",
        loss: keras.losses.Loss | Callable | str | None = None,
        metrics: list | None = None,
        *,
        critic_losses: Sequence | None = None,
        critic_loss_weights: Sequence[float] = (1.0, 1.0),
        label_weight: float = 0.0,
        critic_updates: str = "sequential_async",
        critic_steps: int = 1,
        critic_batch: int | None = None,
        derivative_share: float = 1.0,
        **kwargs: Any,
    ) -> None:
        """Configure training, with separate optimizers and losses for network and critics.

        Args:
          optimizer, critic_optimizer: Keras optimizers, or their names, of network and critics.
            `use_ema` is only for methods without critics that train all stages.
          loss: a Keras loss of one output, averaged over the batch ("sum_over_batch_size").
          metrics: metrics of the network's outputs, as in Keras.
          critic_losses: l of the values and l_1 of the gradients; both default to `L1Norm`, which
            sums over dimensions as in the paper.
          critic_loss_weights: weights of l and l_1. A sum over a wide h can far outweigh l, and a
            critic may then fit noisy gradients by predicting no gradient at all.
          label_weight: weight of |dm/dy - dL/dy|^2, a third term of the critics' loss (SM 4.1).
            For a cross-entropy, it compares the log-probabilities of all classes with the
            network's. The paper leaves it out.
          critic_updates: with several replicas, "sync" averages the critics' gradients, and
            "sequential_async" applies those of each replica, one after another (SM 4).
          critic_steps: number of updates of the critics for each update of the network, on the
            same h, L and dL/dh: 10 or 34 in the paper, of 32 examples each (SM 4). See
            `CriticUpdates`.
          critic_batch: number of examples in each of these updates, taken in turn from the batch;
            None for all.
          derivative_share: the share of the examples whose gradients the critics' loss compares,
            drawn anew at every update. A step costs less, and the critics' gradient is noisier.
            Critics run again on these examples, so they may not have BatchNormalization.
          **kwargs: other arguments of Keras's `compile`, such as `jit_compile`.

        Raises:
          ValueError: `loss` is missing or not a mean over the batch, the critics have no loss, or
            an option is not supported with a placement.
        """
        require.number("compile", "label_weight", label_weight, at_least=0)
        derivative_share = row_share.checked(derivative_share)
        self.critic_updates = CriticUpdates(critic_updates, critic_steps, critic_batch)
        if loss is None or isinstance(loss, (list, dict)):
            raise ValueError(f"expected one loss, for the network's output; got {loss}.")
        if kwargs.get("loss_weights") is not None:
            raise ValueError("loss_weights is for several losses; here there is one.")
        loss = network_loss(loss, self.stages[-1])
        losses = critic_losses or (L1Norm(), L1Norm())
        weights = critic_loss_weights
        if derivative_share < 1:
            critics.refuse_batch_statistics(self.critics)
        self.critic_loss = CriticLoss.of(
            self.method, loss, losses, weights, label_weight, derivative_share
        )
        compile_settings.refuse_unknown_metrics("metrics", metrics)
        weighted = kwargs.get("weighted_metrics")
        compile_settings.refuse_unknown_metrics("weighted_metrics", weighted)
        compile_settings.refuse_wrong_options(kwargs, DecoupledModel.compile)
        optimizer = compile_settings.optimizer_of("optimizer", optimizer)
        critic_optimizer = compile_settings.optimizer_of("critic_optimizer", critic_optimizer)
        if optimizer is critic_optimizer:
            raise ValueError(
                "compile: optimizer and critic_optimizer are one object: each needs its own, since "
                "an optimizer has a state for each weight."
            )
        # Keras looks at the first stage's dtype policy only.
        self._auto_scale_loss = bool(kwargs.get("auto_scale_loss", True))
        layers = self._flatten_layers()
        optimizer = scale_half_precision(optimizer, layers, self._auto_scale_loss)
        if self.placed:
            kwargs.setdefault("jit_compile", False)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)
        self.optimizer.build(self.network_variables)
        self.critic_optimizer = None
        if self.synthetic_gradients:
            self.critic_optimizer = scaled_like(self.optimizer, critic_optimizer)
            self.critic_optimizer.build(self.critic_variables)
        self._refuse_other_weights("compile")
        for layer in self.synthetic_gradients:
            if isinstance(layer, SyntheticGradient):
                layer.loss = loss
        self._critic_loss_weights = [float(weight) for weight in weights]
        if self.placed:
            optimizers = filter(None, (self.optimizer, self.critic_optimizer))
            placed_trainer.check(
                self.gradient_target, self.jit_compile, self.critic_updates, optimizers
            )

    def get_compile_config(self) -> dict[str, Any]:
        config = super().get_compile_config()
        if config:
            config["auto_scale_loss"] = self._auto_scale_loss  # which Keras leaves out
        if config and self.critic_optimizer is not None:
            serialize = keras.saving.serialize_keras_object
            config["critic_optimizer"] = serialize(self.critic_optimizer)
            config["critic_losses"] = [serialize(loss) for loss in self.critic_loss.losses]
            config["critic_loss_weights"] = self._critic_loss_weights
            config["label_weight"] = self.critic_loss.label_weight
            config["derivative_share"] = self.critic_loss.derivative_share
            config |= self.critic_updates.arguments()
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{"label_weight": self._label_weight_in_constructor, **config})

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "stages": [serialize(stage) for stage in self.stages],
            "critic": [serialize(critic) for critic in self.critics],
            "method": self.method,
            "gradient_target": self.gradient_target,
            "diagnose_every": self.diagnose_every,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DecoupledModel":
        config = dict(config)
        for name in ("stages", "critic"):
            config[name] = [keras.saving.deserialize_keras_object(entry) for entry in config[name]]
        label_weight = config.pop("label_weight", 0.0)  # older files have it here
        model = cls(**config)
        model._label_weight_in_constructor = label_weight
        return model
