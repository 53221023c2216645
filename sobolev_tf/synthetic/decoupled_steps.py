"""The steps of a DecoupledModel: what `fit` and `evaluate` do with a batch."""

from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.jets import at_least_float32
from sobolev_tf.keras_support.by_shape import has_open_axes
from sobolev_tf.keras_support.compile_settings import (
    refuse_averages,
    refuse_partial_multi_optimizer,
    refuse_unseen_weights,
)
from sobolev_tf.keras_support.errors import errors_of
from sobolev_tf.keras_support.fingerprint import parts_of
from sobolev_tf.keras_support.strategies import reducible_logs, replicas
from sobolev_tf.losses import per_example
from sobolev_tf.synthetic import placed_trainer
from sobolev_tf.synthetic.batch import num_examples, refuse_no_labels, unpack
from sobolev_tf.synthetic.trainer import Trainer
from sobolev_tf.synthetic.watched_model import WatchedModel


class DecoupledSteps(WatchedModel):
    """A model of stages and critics that takes the steps of section 4.3.

    Attributes:
      placed, gradient_target, diagnose_every, critic_updates: see `DecoupledModel`.
      synthetic_gradients: the layers at the cuts.
      diagnostics: the metrics of the cuts.
    """

    placed: bool
    gradient_target: str
    diagnose_every: int
    critic_updates: Any
    synthetic_gradients: list
    diagnostics: list
    devices: Any

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Update the stages and the critics on one batch; return the logs."""
        return self._train([data])

    def make_train_function(self, force: bool = False) -> None:
        """Make what `fit` calls, after a check that the optimizers have the model's weights."""
        self._refuse_other_weights("DecoupledModel.fit")
        super().make_train_function(force)

    def _new_train_function(self):
        """A train function; with a placement, all of an execution's steps are in one graph."""
        function = super()._new_train_function()
        if self.placed and not self.run_eagerly:
            return placed_trainer.unrolled(self._train, self.steps_per_execution, function)
        return function

    def has_open_axes(self) -> bool:
        """Tell whether the first stage takes axes of any size beside the rows."""
        return has_open_axes(self.stages[0].input_shape)

    def known_outputs(self) -> tuple:
        """Return the shape *out of a row's outputs."""
        return tuple(self.stages[-1].output_shape[1:])

    def traced_from(self) -> list:
        """List what the compiled functions depend on: stages, critics, settings."""
        names = ["method", "gradient_target", "diagnose_every", "loss", "optimizer"]
        names += ["critic_optimizer", "critic_loss", "critic_updates", "jit_compile", "run_eagerly"]
        settings = [getattr(self, name, None) for name in names]
        return parts_of([*self.stages, *self.critics], *settings)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Compute the network's loss and metrics on one batch."""
        refuse_no_labels("DecoupledModel.evaluate", keras.utils.unpack_x_y_sample_weight(data)[1])
        results = super().test_step(data)
        of_cuts = {m.name for cut in self.diagnostics for m in cut.trackers.values()}
        return reducible_logs({k: v for k, v in results.items() if k not in of_cuts})

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Compute the mean of the examples' losses, which critics learn, plus the penalties.

        Without critics it is Keras's, which knows masks, and losses of a whole batch, but
        multiplies weights [B] into the last axis of the losses [B,T] of sequences.
        """
        if not self.synthetic_gradients:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        batch = unpack((x, y, sample_weight), self.stages[-1].output_shape, self.loss)
        loss = batch.objective(per_example(self.loss, batch.y, at_least_float32(y_pred)))
        return loss + sum(self._aggregate_additional_loss(penalty) for penalty in self.losses)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, tf.Tensor]:
        """Update Keras's metrics, some of which refuse outputs in half precision."""
        return super().compute_metrics(x, y, at_least_float32(y_pred), sample_weight)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Keras's metrics, and those of the cuts that the loss allows."""
        loss = getattr(self, "loss", None)
        return [*super().metrics, *(m for cut in self.diagnostics for m in cut.metrics(loss))]

    def _refuse_other_weights(self, caller):
        refuse_unseen_weights(caller, self.optimizer, self.network_variables)
        refuse_unseen_weights(caller, self.critic_optimizer, self.critic_variables)
        for name in ("optimizer", "critic_optimizer"):
            refuse_averages(caller, name, getattr(self, name), self.trainable_variables)
        refuse_partial_multi_optimizer(caller, self.optimizer, self.trainable_variables)

    def _unpack(self, data):
        with errors_of("DecoupledModel.fit"):
            scale = self.optimizer.scale_loss(1.0)
            return unpack(data, self.stages[-1].output_shape, self.loss, scale)

    def _update_logs(self, loss, batch, outputs):
        """Return a step's logs."""
        self._loss_tracker.update_state(loss * replicas(), sample_weight=num_examples(batch.x))
        return reducible_logs(self.compute_metrics(batch.x, batch.y, outputs, batch.sample_weight))

    def _train(self, data):
        """Take one step on each batch of a list; return the last one's logs."""
        batches = [self._unpack(batch) for batch in data]
        for batch, step in zip(batches, self._trainer().train(batches), strict=True):
            logs = self._update_logs(step.loss, batch, step.outputs)
        return logs

    def _trainer(self):
        names = ("stages", "method", "loss", "critic_loss", "optimizer", "critic_optimizer")
        shared = {name: getattr(self, name) for name in (*names, "diagnostics")}
        shared["layers"] = self.synthetic_gradients
        if self.placed:
            return placed_trainer.PlacedTrainer(devices=self.devices, **shared)
        return Trainer(
            gradient_target=self.gradient_target,
            diagnose_every=self.diagnose_every,
            compute_loss=self._batch_loss,
            critic_updates=self.critic_updates,
            **shared,
        )

    def _batch_loss(self, batch, outputs):
        return self._compute_loss(batch.x, batch.y, outputs, batch.sample_weight, training=True)
