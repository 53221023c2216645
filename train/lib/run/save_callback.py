"""The callback that writes checkpoints and metrics.csv, and ends a run that has to end."""

import math
import signal
import time

import keras

from train.lib.run.checkpoints import copies
from train.lib.run.errors import CommandError


class Stopped(CommandError):
    """SIGTERM or Ctrl-C, after the state was saved; the exit code is 128 + the signal."""

    def __init__(self, number, step, total):
        name = signal.Signals(number).name
        super().__init__(f"{name}: saved at step {step} of {total}; the same command goes on")
        self.code = 128 + number


class Diverged(CommandError):
    """A loss is NaN or infinite; checkpoints from before, if any, were kept."""


class Saver(keras.callbacks.Callback):
    """Saves the state when due, writes metrics.csv, and leaves on a signal or a bad loss."""

    def __init__(
        self, checkpoints, history, caught, start, total, save_steps, save_minutes, validates
    ):
        super().__init__()
        self.checkpoints, self.history, self.caught = checkpoints, history, caught
        self.step = start["step"]
        self.steps_per_epoch, self.total = start["steps_per_epoch"], total
        self.settings = {name: start[name] for name in ("steps_per_epoch", "replicas")}
        self.seconds_before = start["seconds"]
        self.save_steps, self.save_seconds = save_steps or math.inf, save_minutes * 60
        self.began = self.saved_at = time.monotonic()
        self.saved_step = self.step
        self.validates = validates
        self.restored_metrics = None

    def on_train_begin(self, logs=None):
        # Keras resets the metrics when an epoch begins, also one that is resumed in the middle.
        if self.step % self.steps_per_epoch:
            self.restored_metrics = [
                (copy, copy.numpy()) for v in self.model.metrics_variables for copy in copies(v)
            ]

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_start = self.step
        if self.restored_metrics:
            for copy, value in self.restored_metrics:
                copy.assign(value)
            self.restored_metrics = None

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
            self.save(epoch_ended=False, train_logs=logs)
        self.leave_if_asked()

    def on_test_batch_end(self, batch, logs=None):
        self.leave_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        place = {"epoch": epoch + 1, "step": self.step, "seconds": round(self.seconds(), 2)}
        self.history.append(place | dict(sorted(logs.items())))
        self.save(epoch_ended=True, logs=logs)
        self.leave_if_asked()

    def save(self, **facts):
        facts |= {"seconds": self.seconds(), **self.settings}
        self.checkpoints.save(self.model, self.step, **facts)
        self.saved_step, self.saved_at = self.step, time.monotonic()

    def seconds(self):
        """Return the time spent on training, summed over all the processes of this run."""
        return self.seconds_before + time.monotonic() - self.began

    def leave_if_asked(self):
        if self.caught:
            print(flush=True)  # The progress bar left its line open.
            raise Stopped(self.caught[0], self.step, self.total)


def check_losses(logs, step):
    """Raise Diverged, naming the terms, if a loss in `logs` is not finite."""
    bad = [n for n, value in logs.items() if n.endswith("loss") and not math.isfinite(value)]
    if bad:
        terms = [name for name in bad if name != "loss"] or bad
        raise Diverged(
            f"{', '.join(terms)} is not finite at step {step}: stopped; checkpoints "
            "from before, if any, are kept; try a lower learning rate in another --workdir"
        )
