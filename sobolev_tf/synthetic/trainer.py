"""Training steps of a split network whose stages share a device (section 4.3)."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from sobolev_tf.jets import Jet, at_least_float32
from sobolev_tf.keras_support.loss_scaling import skipped_together, uses_loss_scaling
from sobolev_tf.keras_support.step_counts import batches_taken
from sobolev_tf.keras_support.strategies import replicas
from sobolev_tf.keras_support.update_order import after
from sobolev_tf.losses import per_example
from sobolev_tf.synthetic import controls
from sobolev_tf.synthetic.batch import Batch, Step, num_examples
from sobolev_tf.synthetic.critic_loss import CriticLoss
from sobolev_tf.synthetic.critic_updates import CriticUpdates
from sobolev_tf.synthetic.cut import (
    Cut,
    per_example_gradient,
    refuse_added_losses,
    refuse_mask,
    true_gradients,
)
from sobolev_tf.synthetic.diagnostics import CutDiagnostics, compare_when
from sobolev_tf.synthetic.methods import CONTROLS


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Trainer:
    """Training steps: one forward pass, one backward pass that every cut interrupts.

    Args:
      stages: Keras models, from the input upwards.
      layers: the layer at each cut, or none: `SyntheticGradient` or `DirectGradient`.
      method: one of `METHODS`.
      gradient_target: "bootstrapped" or "true".
      diagnose_every: after how many steps synthetic and true gradients are compared.
      loss: the network's, of labels and outputs.
      compute_loss: from a batch and the outputs [B, *K] to the loss with penalties: a scalar.
      critic_loss: what the critics learn from.
      critic_updates: how many, and of which examples.
      optimizer: optimizer of the stages.
      critic_optimizer: of the critics; None if there are none.
      diagnostics: diagnostics of each cut.
    """

    stages: Sequence[keras.Model]
    layers: Sequence[keras.layers.Layer]
    method: str
    gradient_target: str
    diagnose_every: int
    loss: keras.losses.Loss | Callable
    compute_loss: Callable[[Batch, tf.Tensor], tf.Tensor]
    critic_loss: CriticLoss
    critic_updates: CriticUpdates
    optimizer: keras.optimizers.Optimizer
    critic_optimizer: keras.optimizers.Optimizer | None
    diagnostics: Sequence[CutDiagnostics]

    def train(self, batches: Sequence[Batch]) -> list[Step]:
        """Take one training step on each of `batches`."""
        return [self._step(batch) for batch in batches]

    def _step(self, batch):
        # What the critics compute on the way up, for their own loss:
        critic_tape = tf.GradientTape()
        with tf.GradientTape(persistent=True) as tape:
            outputs, cuts = self._forward(batch, tape, critic_tape)
            loss = self.compute_loss(batch, outputs)
            objective = self.optimizer.scale_loss(loss)

        variables = network_variables(self.stages, self.method)
        gradients, arriving = tape.gradient(objective, [variables, [cut.h_out for cut in cuts]])
        if self.layers:
            true = functools.partial(true_gradients, tape, cuts, arriving)
            if self.gradient_target == "true":
                arriving = true()
            self._update_critics(critic_tape, batch, outputs, cuts, arriving)
            due = batches_taken(self.optimizer) % self.diagnose_every == 0
            finite_only = uses_loss_scaling(self.optimizer)
            compare_when(due, self.diagnostics, cuts, true, batch.example_weights, finite_only)
        if self.method in CONTROLS and cuts:
            gradients = self._control(tape, objective, variables, cuts, arriving)
        with after(loss, gradients):
            # None if all are frozen.
            self.optimizer.apply(skipped_together(self.optimizer, gradients), variables)
        return Step(loss, outputs)

    def _forward(self, batch, tape, critic_tape):
        """Return the network's outputs, and every cut on the way."""
        h, cuts = batch.x, []
        for k in range(len(self.stages) - 1):
            h = self._run(k, h)
            cut = Cut(h, h)
            if self.method != "backprop":
                refuse_mask(h)
            if self.layers:
                weight = batch.example_weights
                with critic_tape:
                    cut = self.layers[k](h, batch.y, weight=weight, training=True, return_cut=True)
            elif self.method == "noprop":
                cut = Cut(h, tf.stop_gradient(h))
            elif self.method in CONTROLS:
                cut = Cut(h, tf.stop_gradient(h))
                tape.watch(cut.h_out)
            cuts.append(cut)
            h = cut.h_out
        outputs = self._run(len(self.stages) - 1, h)
        return refuse_mask(outputs) if self.layers else outputs, cuts

    def _run(self, k, h):
        """Return the outputs of a stage."""
        outputs = self.stages[k](h, training=True)
        if k and (self.layers or self.method in CONTROLS):
            refuse_added_losses(self.stages[k], k + 1)
        return outputs

    def _control(self, tape, objective, variables, cuts, arriving):
        """Return the network's gradients where a control replaces the true ones at the cuts."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        step = batches_taken(self.optimizer)
        replaced = [
            controls.replacement(self.method, gradient, k, step, replica)
            for k, gradient in enumerate(true_gradients(tape, cuts, arriving))
        ]
        ends = [objective, *(cut.h for cut in cuts)]
        return tape.gradient(ends, variables, [tf.ones_like(objective), *replaced])

    def _update_critics(self, tape, batch, outputs, cuts, arriving):
        """Take the critics' steps on l(m, L) + l_1(SG, dL/dh), summed over the cuts."""
        value = per_example(self.loss, batch.y, at_least_float32(outputs))
        targets = [
            Jet(value, (per_example_gradient(gradient, batch.example_weights),))
            for gradient in arriving
        ]
        finite_only = uses_loss_scaling(self.optimizer)
        noted = {"number": num_examples(batch.x), "finite_only": finite_only}
        track = [functools.partial(d.track, **noted) for d in self.diagnostics]
        with tape:
            objective = self._critic_objective(batch, outputs, cuts, targets, track)
        for cut, diagnostics in zip(cuts, self.diagnostics, strict=True):
            diagnostics.track_accuracy(self.loss, batch.y, cut.outputs)
        rounds = range(self.critic_updates.rounds)
        if self.critic_updates.batch is None:  # the first is of what the forward pass predicted
            self._apply_to_critics(tape, objective)
            rounds = rounds[1:]
        untracked = [lambda name, value: None for _ in cuts]
        examples = (batch.y, batch.sample_weight, outputs, [cut.h for cut in cuts], targets)
        for k in rounds:
            y, sample_weight, own, activations, jets = self.critic_updates.take(k, examples)
            some = batch._replace(y=y, sample_weight=sample_weight)
            with tf.GradientTape() as tape:
                again = [
                    layer(h, y, training=True, return_cut=True)
                    for layer, h in zip(self.layers, activations, strict=True)
                ]
                objective = self._critic_objective(some, own, again, jets, untracked)
            self._apply_to_critics(tape, objective)

    def _critic_objective(self, batch, outputs, cuts, targets, track):
        """Sum the critics' losses over the cuts, as loss scaling needs it."""
        assert self.critic_optimizer is not None
        objective = sum(loss for layer in self.layers for loss in layer.critic.losses)
        step = batches_taken(self.critic_optimizer)
        for layer, cut, target, note in zip(self.layers, cuts, targets, track, strict=True):
            objective += self.critic_loss.objective(cut, target, batch, outputs, note, layer, step)
        objective *= 1 if self.critic_updates.in_turn else 1 / replicas()
        return self.critic_optimizer.scale_loss(objective)

    def _apply_to_critics(self, tape, objective):
        variables = [v for layer in self.layers for v in layer.critic.trainable_variables]
        gradients = tape.gradient(objective, variables)
        with after(objective, gradients):
            self.critic_updates.apply(self.critic_optimizer, gradients, variables)


def network_variables(stages: Sequence[keras.Model], method: str) -> list[keras.Variable]:
    """List what the optimizer updates: all trainable weights; in noprop, the last stage's."""
    trained = stages[-1:] if method == "noprop" else stages
    return [variable for stage in trained for variable in stage.trainable_variables]
