"""Keras `fit` for runs that are killed: the same command goes on from the last checkpoint.

`fit` cannot restore the position of a data set. Here the data is an endless stream that begins
at any step, a pure function of its seed; so the model's state and the step are all there is to
save. A run killed inside an epoch first trains the rest of it, on the restored metrics.
"""

import contextlib
import datetime
import math
import signal
import time

import keras

from train.lib.checkpoints import Checkpoints, optimizers
from train.lib.cli import CommandError, UsageError
from train.lib.runs import Metrics


class Stopped(CommandError):
    """SIGTERM or Ctrl-C, after the state was saved; the exit code is 128 + the signal."""

    def __init__(self, number, step, total):
        name = signal.Signals(number).name
        super().__init__(f"{name}: saved at step {step} of {total}; the same command goes on")
        self.code = 128 + number


class Diverged(CommandError):
    """A loss is NaN or infinite; the last good checkpoint was kept."""


def fit(
    model,
    make_stream,
    run,
    epochs,
    steps_per_epoch,
    validation_data=None,
    callbacks=(),
    save_steps=None,
    save_minutes=5,
    keep=3,
    monitor=None,
    mode="max",
    verbose="auto",
):
    """Train a compiled Keras model from where `run` stands, and return the rows of metrics.csv.

    `make_stream(step)` returns an endless tf.data.Dataset of batches that begins with the batch
    of that global step. A checkpoint is written every `save_steps` steps, every `save_minutes`
    minutes and at the end of an epoch; the last `keep` and the best by `monitor` stay.

    All randomness of the model must come from seed generators (Keras layers do so): the state
    of `tf.random.uniform` and the like is in no variable. Callbacks see `on_train_begin` twice
    when an epoch was resumed, and their Python state is not restored.

    Raises ValueError for settings that cannot resume exactly, UsageError if the checkpoint is
    of another net, Diverged for a loss that is not finite, Stopped on SIGTERM and Ctrl-C.

    >>> with runs.Run(cli.workdir(FLAGS), cli.config(FLAGS)) as run:
    ...     rows = resumable.fit(model, lambda step: stream(0, start_step=step), run, 3, 100)
    """
    check_settings(model, steps_per_epoch)
    build(model, make_stream(0).element_spec)
    checkpoints = Checkpoints(run.path("checkpoints"), keep, monitor, mode)
    start = checkpoints.restore_latest(model) or {"step": 0, "seconds": 0.0}
    if start.setdefault("steps_per_epoch", steps_per_epoch) != steps_per_epoch:
        raise UsageError(
            f"{run.folder} was started with {start['steps_per_epoch']} steps an epoch, "
            f"now there are {steps_per_epoch}: choose another --workdir"
        )
    metrics = Metrics(run.path("metrics.csv"), start["step"])
    total = epochs * steps_per_epoch
    if start["step"] and start["step"] < total:
        print(f"{run.folder}: going on at step {start['step']} of {total}")
    elif start["step"]:
        print(f"{run.folder}: all {total} steps are done; another --workdir starts afresh")

    with caught_signals() as caught:
        saver = Saver(checkpoints, metrics, caught, start, total, save_steps, save_minutes)
        saver.validates = validation_data is not None
        common = {"callbacks": [*callbacks, saver], "verbose": verbose, "shuffle": False}
        epoch, done = divmod(start["step"], steps_per_epoch)
        model.stop_training = False
        if done:
            model.fit(
                make_stream(start["step"]),
                initial_epoch=epoch,
                epochs=epoch + 1,
                steps_per_epoch=steps_per_epoch - done,
                validation_data=validation_data,
                **common,
            )
            epoch += 1
        elif start["step"] and not start["epoch_ended"]:
            finish_epoch(model, epoch - 1, validation_data, common["callbacks"])
        if epoch < epochs and not model.stop_training:
            model.fit(
                make_stream(epoch * steps_per_epoch),
                initial_epoch=epoch,
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                validation_data=validation_data,
                **common,
            )
    return [{name: float(value) for name, value in row.items()} for row in metrics.rows]


class Saver(keras.callbacks.Callback):
    """Saves the state when due, writes metrics.csv, and leaves on a signal or a bad loss."""

    validates = False

    def __init__(self, checkpoints, metrics, caught, start, total, save_steps, save_minutes):
        super().__init__()
        self.checkpoints, self.metrics, self.caught = checkpoints, metrics, caught
        self.step = self.first_step = start["step"]
        self.steps_per_epoch, self.total = start["steps_per_epoch"], total
        self.seconds_before = start["seconds"]
        self.save_steps, self.save_seconds = save_steps or math.inf, save_minutes * 60
        self.began = self.saved_at = time.monotonic()
        self.saved_step = self.step
        self.restored_metrics = None

    def on_train_begin(self, logs=None):
        # Keras resets the metrics when an epoch begins, also one that is resumed in the middle.
        if self.step % self.steps_per_epoch:
            self.restored_metrics = [(v, v.numpy()) for v in self.model.metrics_variables]

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_start = self.step
        if self.restored_metrics:
            with self.model.distribute_strategy.scope():
                for variable, value in self.restored_metrics:
                    variable.assign(value)
            self.restored_metrics = None
        elif self.step > self.first_step:
            pace = (time.monotonic() - self.began) / (self.step - self.first_step)
            left = datetime.timedelta(seconds=round(pace * (self.total - self.step)))
            print(f"step {self.step} of {self.total}, about {left} left in all")

    def on_train_batch_end(self, batch, logs=None):
        self.step = self.epoch_start + batch + 1
        check_losses(logs, self.step)
        due = (
            self.step - self.saved_step >= self.save_steps
            or time.monotonic() - self.saved_at >= self.save_seconds
            # Validation may take long, and may be killed.
            or (self.validates and self.step % self.steps_per_epoch == 0)
        )
        if due or self.caught:
            self.save(epoch_ended=False)
        self.leave_if_asked()

    def on_test_batch_end(self, batch, logs=None):
        self.leave_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        place = {"epoch": epoch + 1, "step": self.step, "seconds": round(self.seconds(), 2)}
        self.metrics.append(place | logs)
        self.save(epoch_ended=True, logs=logs)
        self.leave_if_asked()

    def save(self, **facts):
        facts |= {"seconds": self.seconds(), "steps_per_epoch": self.steps_per_epoch}
        self.checkpoints.save(self.model, self.step, **facts)
        self.saved_step, self.saved_at = self.step, time.monotonic()

    def seconds(self):
        """Return the time spent on training, summed over all the processes of this run."""
        return self.seconds_before + time.monotonic() - self.began

    def leave_if_asked(self):
        if self.caught:
            print(flush=True)  # The progress bar left its line open.
            raise Stopped(self.caught[0], self.step, self.total)


def check_settings(model, steps_per_epoch):
    """Raise ValueError for settings with which `fit` cannot resume where it stopped."""
    if steps_per_epoch % model.steps_per_execution:
        raise ValueError(
            f"steps_per_epoch={steps_per_epoch} must be a multiple of "
            f"steps_per_execution={model.steps_per_execution}: Keras would train more steps."
        )
    for name, optimizer in optimizers(model).items():
        if optimizer.use_ema:
            raise ValueError(
                f"{name} has use_ema=True, which overwrites the weights after `fit`."
            )


def build(model, element_spec):
    """Create every variable that training will use, so that a checkpoint finds its place.

    Raises ValueError if an optimizer is still without variables. A model with more optimizers
    than `optimizer` builds them itself, in `compile` or in a method `build_optimizers`.
    """
    with model.distribute_strategy.scope():
        if model.built and hasattr(model, "build_optimizers"):
            model.build_optimizers()
        # Private, but what `fit` calls, and there only under a strategy: without one, metrics
        # would be created inside the first step.
        model._symbolic_build(data_batch=element_spec)
        if hasattr(model, "build_optimizers"):
            model.build_optimizers()
    for name, optimizer in optimizers(model).items():
        if not optimizer.built:
            raise ValueError(
                f"{name} is not built: build it in the model's `build_optimizers`."
            )


def finish_epoch(model, epoch, validation_data, callbacks):
    """Do what `fit` does after an epoch's last step: validate and tell the callbacks."""
    told = keras.callbacks.CallbackList(callbacks, model=model)
    told.on_train_begin()
    told.on_epoch_begin(epoch)
    logs = model.get_metrics_result()
    if validation_data is not None:
        found = model.evaluate(
            validation_data, return_dict=True, verbose=0, callbacks=callbacks[-1:]
        )
        logs |= {f"val_{name}": value for name, value in found.items()}
    told.on_epoch_end(epoch, logs)


def check_losses(logs, step):
    """Raise Diverged, naming the terms, if a loss in `logs` is not finite."""
    bad = [n for n, value in logs.items() if n.endswith("loss") and not math.isfinite(value)]
    if bad:
        terms = [name for name in bad if name != "loss"] or bad
        raise Diverged(
            f"{', '.join(terms)} is not finite at step {step}: stopped, the last good "
            "checkpoint is kept; try a lower learning rate in another --workdir"
        )


@contextlib.contextmanager
def caught_signals():
    """Collect SIGTERM and SIGINT in a list instead of dying; a second one kills as usual."""
    caught = []

    def note(number, frame):
        caught.append(number)
        signal.signal(number, before[number])

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
