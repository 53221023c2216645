"""Every stage of a split network on a device of its own (section 4.3).

With synthetic gradients a stage need not wait for those above it. Several steps are traced into
one tf.function; TensorFlow then runs stage 1 on batch t+1 while stage 2 is at batch t. Each
operation is put on its stage's device, those of the gradients too, and runs as soon as what it
reads is there. One thing alone is scheduled: no stage runs away from the one above (`AHEAD`).

Every stage is updated on batch t before it sees batch t+1: its weights are never late. What comes
late are the critics' targets: at a cut with n stages above it, the critic that hands down a
gradient at step t has learned from batches up to t-1-n, each by a gradient taken at its weights
of then. At the end of an execution all critics catch up: with `steps_per_execution=1` nothing is
late, nothing runs side by side, and the weights are those without placement.
"""

import collections
import contextlib
import functools
import itertools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf.jets import Jet, at_least_float32
from sobolev_tf.keras_support.loss_scaling import uses_loss_scaling
from sobolev_tf.losses import batch_mean, per_example
from sobolev_tf.synthetic.layers import Cut, per_example_gradient, refuse_mask, scale_examples

# A stage begins a step when the one above has made its outputs of so many steps before. A worker of
# TensorFlow begins with what became ready last, so without a wait it sends h after all that it can
# do by itself, many steps perhaps, and the worker above has nothing to do.
AHEAD = 2
COUPLED = ("global_clipnorm", "use_ema", "loss_scale_factor", "gradient_accumulation_steps")


def devices(placement, stages: int) -> list:
    """Names of devices, one for each stage.

    Args:
      placement: None, for none (a list of None); "stages", for the workers that TensorFlow is
        connected to, or else this machine's GPUs, or else its (logical) CPUs; or a list of names.
      stages: how many are wanted.

    Raises:
      ValueError: if there are fewer, or a list of another length, or of unknown names.

    >>> devices(["CPU:0", "CPU:1"], stages=2)
    ['CPU:0', 'CPU:1']
    """
    if placement is None:
        return [None] * stages
    if isinstance(placement, (list, tuple)):
        if len(placement) != stages:
            raise ValueError(
                f"placement: expected {stages} devices, one for each stage; given {len(placement)}."
            )
        return [_known(name, k) for k, name in enumerate(placement)]
    if placement != "stages":
        raise ValueError(
            f"placement is None, 'stages' or a list of device names; given {placement!r}."
        )
    found = _workers() or _local("GPU", stages) or _local("CPU", 0)
    if len(found) < stages:
        raise ValueError(
            f"placement='stages' puts each of {stages} stages on a device of its own; found "
            f"{len(found)}: {', '.join(found)}. Make logical ones with "
            "tf.config.set_logical_device_configuration, or connect to workers with "
            "tf.config.experimental_connect_to_cluster."
        )
    return found[:stages]


def _known(name, stage):
    """A device's name; one that is not there TensorFlow would quietly read as CPU:0."""
    known = [device.name for device in tf.config.list_logical_devices()]
    fields = ("job", "replica", "task", "device_type", "device_index")
    with contextlib.suppress(ValueError):
        asked = tf.DeviceSpec.from_string(str(name))
        for each in map(tf.DeviceSpec.from_string, known):
            if all(getattr(asked, f) in (None, getattr(each, f)) for f in fields):
                return name
    raise ValueError(
        f"placement: no device {name!r} for stage {stage + 1}; there are {', '.join(known)}."
    )


def _workers():
    """The first GPU, or else the CPU, of every worker of a cluster."""
    first = {}
    for kind in ("GPU", "CPU"):
        for device in tf.config.list_logical_devices(kind):
            spec = tf.DeviceSpec.from_string(device.name)
            if spec.job == "worker":
                first.setdefault(spec.task, device.name)
    return [first[task] for task in sorted(first)]


def _local(kind, least):
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    return names if len(names) >= least else []


def move(models, names):
    """Copies of functional Keras models, each with its variables on the device of that name.

    Where the name is None the model itself.
    """
    return [_copy(each, name) if name else each for each, name in zip(models, names, strict=False)]


def _copy(model, name):
    with tf.device(name):
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
    for new, old in zip(copy.variables, model.variables, strict=True):
        new.trainable, new.regularizer = old.trainable, old.regularizer
    return copy


def on(name):
    """The scope of a device; where there is none, the scope that is there stays."""
    return tf.device(name) if name else contextlib.nullcontext()


def check(model):
    """Raises ValueError for what makes one stage of a model wait for all, or is for one device."""
    if model.gradient_target != "bootstrapped":
        raise ValueError(
            "placement: gradient_target='true' is full backpropagation, for which every stage "
            "waits; with a placement it is 'bootstrapped'."
        )
    if tf.distribute.has_strategy():
        raise ValueError("placement: it takes no tf.distribute strategy; compile outside of one.")
    if model.jit_compile:
        raise ValueError("placement: jit_compile=True is for one device; leave it out.")
    for optimizer in filter(None, (model.optimizer, model.critic_optimizer)):
        coupled = [name for name in COUPLED if getattr(optimizer, name)]
        if coupled or uses_loss_scaling(optimizer):
            what = coupled[0] if coupled else "the LossScaleOptimizer that float16 brings"
            raise ValueError(
                f"placement: {what} takes all stages' gradients together; use an optimizer without "
                "it, and mixed_bfloat16 or compile(auto_scale_loss=False) for half precision."
            )


def unrolled(model, otherwise):
    """A Keras train function: `steps_per_execution` batches of an iterator in one tf.function.

    Where the data ends early, the batches that are left are a function of their own. What is no
    tf.data iterator (`train_on_batch`), and single steps, go `otherwise`.
    """
    if model.steps_per_execution == 1 or model.run_eagerly:
        return otherwise
    together = tf.function(lambda batches: train(model, batches), autograph=False)

    def run(iterator):
        if not isinstance(iterator, tf.data.Iterator):
            return otherwise(iterator)
        batches = list(itertools.islice(iterator, model.steps_per_execution))
        if not batches:
            raise StopIteration
        return together(batches)

    return run


def train(model, batches):
    """One training step of a placed `DecoupledModel` on each of `batches`; the last one's logs."""
    optimizers = [each for each in (model.optimizer, model.critic_optimizer) if each is not None]
    counts = [tf.identity(optimizer.iterations.value) for optimizer in optimizers]
    late = [collections.deque() for _ in model.synthetic_gradients]

    def teach(k):
        number, gradients = late[k].popleft()
        with on(model.devices[k]):
            variables = model.critics[k].trainable_variables
            _apply(optimizers[1], counts[1] + number, gradients, variables)

    results, outputs = {}, collections.deque([None] * AHEAD)
    for number, batch in enumerate(batches):
        for k, updates in enumerate(late):
            if len(updates) > len(model.stages) - 1 - k:
                teach(k)
        results, gradients, made = _step(model, counts[0] + number, batch, outputs.popleft())
        outputs.append(made)
        for updates, each in zip(late, gradients, strict=True):
            updates.append((number, each))
    for k, updates in enumerate(late):
        while updates:
            teach(k)
    for optimizer, count in zip(optimizers, counts, strict=True):
        optimizer.iterations.assign(count + len(batches))
    return results


def _apply(optimizer, number, gradients, variables):
    """Update `number` of some of an optimizer's variables, whatever it has counted."""
    optimizer.iterations.assign(number)
    optimizer.apply(gradients, variables)


class _Stage(NamedTuple):
    """A stage's forward pass: what came in, and the tape from there to h and its penalties."""

    tape: tf.GradientTape
    below: tf.Tensor
    above: tf.Tensor
    penalties: list


def _step(model, number, batch, earlier):
    """Forward through all stages, backward in each.

    earlier: all stages' outputs of `AHEAD` steps before, None at the first steps.

    Returns (logs, gradients of each critic, all stages' outputs).
    """
    x, y, sample_weight = model._unpack(batch)
    share = model._example_weights(x, sample_weight)
    stages, cuts, tapes = [], [], []
    for k, stage in enumerate(model.stages):
        with on(model.devices[k]):
            below = stages[-1].above if k else x
            if earlier and k + 1 < len(model.stages):
                below = _after(earlier[k + 1], model.devices[k + 1], below)
            stages.append(_forward(stage, below, watch=k > 0))
            if k < len(model.synthetic_gradients):
                h = stages[k].above
                with tf.GradientTape() as tape:
                    cut = model.synthetic_gradients[k].jet_and_outputs(h, y, training=True)
                cuts.append(Cut(h, h, *cut))
                tapes.append(tape)

    outputs = stages[-1].above
    with on(model.devices[-1]), stages[-1].tape:
        value = per_example(model.loss, y, at_least_float32(outputs))
        loss = batch_mean(value, sample_weight)
    arriving = _backward(model, number, stages, cuts, share, loss)
    gradients = []
    for k, (cut, tape) in enumerate(zip(cuts, tapes, strict=True)):
        tracked = {}
        with on(model.devices[k]):
            target = Jet(value, (per_example_gradient(arriving[k], share),))
            with tape:
                batch = y, outputs, sample_weight
                objective = model.critic_loss.objective(
                    cut, target, model.loss, *batch, track=tracked.__setitem__
                ) + sum(model.critics[k].losses)
            gradients.append(tape.gradient(objective, model.critics[k].trainable_variables))
        for name, each in tracked.items():
            model.diagnostics[k].track(name, each)
        model.diagnostics[k].track_accuracy(model.loss, y, cut.outputs)
    total = loss + sum(penalty for stage in stages for penalty in stage.penalties)
    logs = model._update_logs(total, x, y, outputs, sample_weight)
    return logs, gradients, [stage.above for stage in stages]


def _forward(stage, x, watch):
    with tf.GradientTape() as tape:
        if watch:
            x = tf.identity(x)
            tape.watch(x)
        return _Stage(tape, x, refuse_mask(stage(x, training=True)), list(stage.losses))


def _after(made, device, x):
    """x, ready once `device` has said that it made `made`: by a value, lest it be pruned."""
    with on(device):
        said = tf.reduce_all(tf.reshape(made, [-1])[:1] < np.inf)
    wait = functools.partial(tf.where, said)
    return tf.nest.map_structure(lambda t: wait(t, t), x, expand_composites=True)


def _backward(model, number, stages, cuts, share, loss):
    """Updates every stage that a gradient reaches; dL/dh [B, *H] of the objective at every cut."""
    end, handed, arriving = loss, tf.ones_like(loss), []
    for k in reversed(range(len(stages))):
        stage, variables = stages[k], model.stages[k].trainable_variables
        with on(model.devices[k]):
            if k < len(cuts):
                handed = scale_examples(cuts[k].prediction.derivatives[0], share)
            ends = [end, *stage.penalties]
            seeds = [tf.cast(handed, end.dtype), *map(tf.ones_like, stage.penalties)]
            sources = [variables, stage.below if k else []]
            gradients, gradient = stage.tape.gradient(ends, sources, output_gradients=seeds)
            _apply(model.optimizer, number, gradients, variables)
        if model.method == "noprop":
            break
        if k:
            end, handed = stages[k - 1].above, gradient
            arriving.insert(0, gradient)
    return arriving
