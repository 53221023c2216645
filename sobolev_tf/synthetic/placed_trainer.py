"""Train every stage of a split network on a device of its own (section 4.3).

With synthetic gradients, a stage does not wait for those above it. Several steps are traced into
one tf.function; TensorFlow then runs stage 1 on batch t+1 while stage 2 is at batch t. Every
operation of a stage, forward or backward, is on that stage's device, and runs as soon as its inputs
are available, except that a stage is at most `AHEAD` steps ahead of the next one.

A stage is updated on batch t before it sees batch t+1, so its weights are never late. Critics are
late, because their targets come from above. At a cut with n stages above it, the critic used at
step t has learned from the batches up to t-1-n. At the end of an execution all critics catch up.
With `steps_per_execution=1` nothing is late, nothing runs at the same time, and the weights are
those without placement.
"""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf.jets import Jet, at_least_float32
from sobolev_tf.keras_support.loss_scaling import uses_loss_scaling
from sobolev_tf.losses import per_example
from sobolev_tf.synthetic.batch import Batch, Step, num_examples
from sobolev_tf.synthetic.critic_loss import CriticLoss
from sobolev_tf.synthetic.critic_updates import CriticUpdates
from sobolev_tf.synthetic.cut import Cut, per_example_gradient, refuse_added_losses, refuse_mask
from sobolev_tf.synthetic.diagnostics import CutDiagnostics
from sobolev_tf.synthetic.placement import device_scope

# A stage begins step t once the stage above has its outputs of step t - AHEAD. TensorFlow runs what
# became ready last first. Without the wait, a worker would do many steps of its own stage before it
# sends h, and the worker above would be idle.
AHEAD = 2
COUPLED = ("global_clipnorm", "use_ema", "loss_scale_factor", "gradient_accumulation_steps")


def check(
    gradient_target: str, jit_compile: bool, updates: CriticUpdates, optimizers: Iterable
) -> None:
    """Raise ValueError for settings that make a stage wait for all others, or need one device."""
    if gradient_target != "bootstrapped":
        raise ValueError(
            "placement: gradient_target='true' is full backpropagation, for which every stage "
            "waits; with a placement it is 'bootstrapped'."
        )
    if tf.distribute.has_strategy():
        raise ValueError("placement: it takes no tf.distribute strategy; compile outside of one.")
    if jit_compile:
        raise ValueError("placement: jit_compile=True is for one device; leave it out.")
    if updates.steps > 1 or updates.batch is not None:
        raise ValueError(
            "placement: critics take one update of the whole batch in a step; leave critic_steps "
            "and critic_batch out."
        )
    for optimizer in optimizers:
        coupled = [name for name in COUPLED if getattr(optimizer, name)]
        if coupled or uses_loss_scaling(optimizer):
            what = coupled[0] if coupled else "the LossScaleOptimizer that float16 brings"
            raise ValueError(
                f"placement: {what} takes all stages' gradients together; use an optimizer without "
                "it, and mixed_bfloat16 or compile(auto_scale_loss=False) for half precision."
            )
        if _counts_updates(optimizer):
            raise ValueError(
                f"placement: {type(optimizer).__name__} counts its own updates, and each stage "
                "takes one in a step; use another optimizer, such as Adam."
            )


def unrolled(train: Callable, steps: int, otherwise: Callable) -> Callable:
    """Make a Keras train function that traces `steps` batches of an iterator as one function.

    If the data ends early, the remaining batches are traced as another function. Batches are read
    before the function runs: if one is refused, no stage and no counter has changed.

    Args:
      train: a function from a list of batches to the logs of the last one.
      steps: number of batches in an execution.
      otherwise: the train function for anything but a tf.data iterator (`train_on_batch`).
    """
    train_batches = tf.function(train, autograph=False, reduce_retracing=True)

    def run(iterator: Iterator) -> dict[str, tf.Tensor]:
        if not isinstance(iterator, tf.data.Iterator):
            return otherwise(iterator)
        batches = list(itertools.islice(iterator, steps))
        if not batches:
            raise StopIteration
        return train_batches(batches)

    return run


class _Pass(NamedTuple):
    """A stage's forward pass, with the layer at the cut above it.

    tape: from h, which enters the stage, to the cut and the penalties; critic_tape: to what the
    critic predicted.
    """

    tape: tf.GradientTape
    critic_tape: tf.GradientTape
    h: tf.Tensor
    cut: Cut
    penalties: list


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PlacedTrainer:
    """Training steps of stages that are each on a device of their own.

    Args:
      stages: Keras models, from the input upwards.
      layers: the layer at each cut, or none: `SyntheticGradient` or `DirectGradient`.
      devices: the name of each stage's device; a layer's critic is on that of the stage below.
      method: one of `METHODS`.
      loss: the network's, of labels and outputs.
      critic_loss: what the critics learn from.
      optimizer: optimizer of the stages.
      critic_optimizer: of the critics; None if there are none.
      diagnostics: diagnostics of each cut.
    """

    stages: Sequence[keras.Model]
    layers: Sequence[keras.layers.Layer]
    devices: Sequence[str | None]
    method: str
    loss: keras.losses.Loss | Callable
    critic_loss: CriticLoss
    optimizer: keras.optimizers.Optimizer
    critic_optimizer: keras.optimizers.Optimizer | None
    diagnostics: Sequence[CutDiagnostics]

    def train(self, batches: Sequence[Batch]) -> list[Step]:
        """Take one training step on each of `batches`; the critics learn late (see above)."""
        optimizers = [o for o in (self.optimizer, self.critic_optimizer) if o is not None]
        counts = [tf.identity(optimizer.iterations.value) for optimizer in optimizers]
        late: list[collections.deque] = [collections.deque() for _ in self.layers]

        def update_critic(k):
            number, gradients = late[k].popleft()
            with device_scope(self.devices[k]):
                variables = self.layers[k].critic.trainable_variables
                _apply(self.critic_optimizer, counts[1] + number, gradients, variables)

        steps = []
        earlier: collections.deque = collections.deque([None] * AHEAD)
        for number, batch in enumerate(batches):
            for k, updates in enumerate(late):
                if len(updates) > len(self.stages) - 1 - k:
                    update_critic(k)
            step, gradients, made = self._step(counts[0] + number, batch, earlier.popleft())
            steps.append(step)
            earlier.append(made)
            for updates, gradient in zip(late, gradients, strict=True):
                updates.append((number, gradient))
        for k, updates in enumerate(late):
            while updates:
                update_critic(k)
        for optimizer, count in zip(optimizers, counts, strict=True):
            optimizer.iterations.assign(count + len(batches))
        return steps

    def _step(self, number, batch, earlier):
        """Run forward through all stages, and backward in each.

        Args:
          number: number of the step, for the optimizers.
          batch: to train on.
          earlier: all stages' outputs of `AHEAD` steps before, None at the first steps.

        Returns:
          The step, the gradients of each critic, and all stages' outputs.
        """
        passes, h = [], batch.x
        for k, device in enumerate(self.devices):
            with device_scope(device):
                if earlier and k + 1 < len(self.stages):
                    h = _after(earlier[k + 1], self.devices[k + 1], h)
                passes.append(self._forward(k, h, batch))
            h = passes[-1].cut.h_out
        with device_scope(self.devices[-1]), passes[-1].tape:
            value = per_example(self.loss, batch.y, at_least_float32(h))
            loss = batch.objective(value)
        arriving = self._backward(number, passes, loss)
        gradients = [
            self._critic_gradients(k, number, passes[k], value, arriving[k], batch, h)
            for k in range(len(self.layers))
        ]
        total = loss + sum(penalty for forward in passes for penalty in forward.penalties)
        return Step(total, h), gradients, [forward.cut.h for forward in passes]

    def _forward(self, k, h, batch):
        with tf.GradientTape() as tape:
            if k > 0:
                h = tf.identity(h)
                tape.watch(h)
            out = refuse_mask(self.stages[k](h, training=True))
            if k and self.layers:
                refuse_added_losses(self.stages[k], k + 1)
            penalties = list(self.stages[k].losses)
            cut, critic_tape = Cut(out, out), tf.GradientTape()
            if k < len(self.layers):
                weight = batch.example_weights
                with critic_tape:
                    cut = self.layers[k](
                        out, batch.y, weight=weight, training=True, return_cut=True
                    )
        return _Pass(tape, critic_tape, h, cut, penalties)

    def _backward(self, number, passes, loss):
        """Update every stage that a gradient reaches; return dL/dh [B, *H] at every cut.

        What arrives at a cut with a layer is replaced there by the synthetic gradient.
        """
        end, seed = loss, tf.ones_like(loss)
        arriving: list[tf.Tensor] = []
        for k in reversed(range(len(passes))):
            forward, variables = passes[k], self.stages[k].trainable_variables
            with device_scope(self.devices[k]):
                gradients, gradient = forward.tape.gradient(
                    [end, *forward.penalties],
                    [variables, forward.h if k else []],
                    output_gradients=[seed, *map(tf.ones_like, forward.penalties)],
                )
                _apply(self.optimizer, number, gradients, variables)
            if self.method == "noprop":
                break
            if k:
                end, seed = passes[k - 1].cut.h_out, gradient
                arriving.insert(0, gradient)
        return arriving

    def _critic_gradients(self, k, number, forward, value, arriving, batch, outputs):
        """Return the gradients of the critic at a cut; update its metrics too."""
        tracked: dict[str, Any] = {}
        layer = self.layers[k]
        with device_scope(self.devices[k]):
            target = Jet(value, (per_example_gradient(arriving, batch.example_weights),))
            with forward.critic_tape:
                objective = sum(layer.critic.losses) + self.critic_loss.objective(
                    forward.cut, target, batch, outputs, tracked.__setitem__, layer, number
                )
            variables = layer.critic.trainable_variables
            gradients = forward.critic_tape.gradient(objective, variables)
        for name, metric_value in tracked.items():
            self.diagnostics[k].track(name, metric_value, num_examples(batch.x))
        self.diagnostics[k].track_accuracy(self.loss, batch.y, forward.cut.outputs)
        return gradients


def _counts_updates(optimizer):
    """Whether an update changes more than `iterations` and what belongs to each variable."""
    update = type(optimizer)._backend_update_step
    return update is not keras.Optimizer._backend_update_step or hasattr(optimizer, "optimizers")


def _apply(optimizer, number, gradients, variables):
    """Update `number` of some of an optimizer's variables, whatever it has counted."""
    optimizer.iterations.assign(number)
    optimizer.apply(gradients, variables)


def _after(made, device, x):
    """Return x, to be used only once `made` is there on `device`."""
    with device_scope(device):  # A value must be read; otherwise TensorFlow prunes the wait.
        ready = tf.reduce_all(tf.reshape(made, [-1])[:1] < np.inf)
    wait = functools.partial(tf.where, ready)
    return tf.nest.map_structure(lambda t: wait(t, t), x, expand_composites=True)
