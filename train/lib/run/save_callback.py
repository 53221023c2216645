"""The callback that writes checkpoints and metrics.csv, and ends a run that has to end."""

import dataclasses
import math
import signal
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from sobolev_tf.keras_support.callbacks import lost_losses
from train.lib.run import workers
from train.lib.run.checkpoints import Checkpoints, copies
from train.lib.run.errors import CommandError
from train.lib.run.metrics_csv import History
from train.lib.run.schema import NUMBER


@dataclasses.dataclass(frozen=True)
class Position:
    """Where a run stands.

    Args:
      step: steps that were taken.
      epoch_ended: whether the last step's epoch was validated and has its row in metrics.csv.
      seconds: time of training, summed over all processes of the run.
      train_logs: logs of an epoch whose last step was taken, but whose end was not reached.
    """

    step: int = 0
    epoch_ended: bool = True
    seconds: float = 0.0
    train_logs: Mapping[str, float] = dataclasses.field(default_factory=dict)

    # What a checkpoint must say about it.
    NEEDS: ClassVar[Mapping[str, type | tuple[type, ...]]] = {
        "epoch_ended": bool,
        "seconds": NUMBER,
    }

    @classmethod
    def of(cls, facts: Mapping[str, Any] | None) -> "Position":
        """Return the position that a checkpoint's facts give; the start without a checkpoint."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: facts[name] for name in names if name in facts} if facts else {})


class Stopped(CommandError):
    """SIGTERM or Ctrl-C, after the state was saved; the exit code is 128 + the signal.

    Who plays games may take more steps than were asked for: episodes and updates are ended.
    """

    def __init__(self, number: int, step: int, total: int):
        name = signal.Signals(number).name
        saved = f"saved at step {step} of {total}; the same command resumes"
        if step > total:
            saved = f"saved at step {step}, of at least {total}; the same command finishes the run"
        super().__init__(f"{name}: {saved}")
        self.code = 128 + number


class Diverged(CommandError):
    """A loss that is NaN or infinite; the checkpoints from before, if any, stay."""


class Saver(keras.callbacks.Callback):
    """The callback that saves the state, writes metrics.csv, and ends at a signal or a bad loss.

    Args:
      checkpoints: where to save.
      history: metrics.csv.
      position: where the run stands.
      steps_per_epoch: steps of an epoch.
      total: steps of the whole run.
      facts: what to store with every checkpoint.
      save_steps: the most steps between two checkpoints; None for any number.
      save_minutes: the longest time between two checkpoints.
      validates: whether an evaluation ends an epoch: the state is saved before, too.
      caught: the signals that have come, of `resumable.caught_signals`.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        history: History,
        position: Position,
        *,
        steps_per_epoch: int,
        total: int,
        facts: Mapping[str, Any],
        save_steps: int | None,
        save_minutes: float,
        validates: bool,
        caught: list[int],
    ):
        super().__init__()
        self.checkpoints, self.history, self.caught = checkpoints, history, caught
        self.step, self.seconds_before = position.step, position.seconds
        self.steps_per_epoch, self.total, self.facts = steps_per_epoch, total, facts
        self.save_steps, self.save_seconds = save_steps or math.inf, save_minutes * 60
        self.began = self.saved_at = time.monotonic()
        self.saved_step = self.step
        self.validates = validates
        self.restored_metrics: list[tuple[Any, Any]] = []

    def on_train_begin(self, logs=None):
        # Keras resets the metrics when an epoch begins, also one that is resumed in the middle.
        if self.step % self.steps_per_epoch:
            self.restored_metrics = [
                (copy, copy.numpy()) for v in self.model.metrics_variables for copy in copies(v)
            ]

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_start = self.step
        for copy, value in self.restored_metrics:
            copy.assign(value)
        self.restored_metrics = []

    def on_train_batch_end(self, batch, logs=None):
        self.step = self.epoch_start + batch + 1
        check_losses(self.model, logs, self.step)
        due = (
            self.step - self.saved_step >= self.save_steps
            or time.monotonic() - self.saved_at >= self.save_seconds
            # Validation may take long, and may be killed.
            or (self.validates and self.step % self.steps_per_epoch == 0)
        )
        if self.agreed(due):
            self.save(epoch_ended=False, train_logs=logs)
        self.leave_if_caught()

    def on_test_batch_end(self, batch, logs=None):
        self.agreed()
        self.leave_if_caught()

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, "step": self.step, "seconds": round(self.seconds(), 2)}
        self.history.append(row | dict(sorted(logs.items())))
        self.save(epoch_ended=True, logs=logs)
        self.agreed()
        self.leave_if_caught()

    def agreed(self, due: bool = False) -> bool:
        """Return whether any worker is to save, or to end: then all do, at this step."""
        due, caught = workers.any_of(self.model.distribute_strategy, [due, bool(self.caught)])
        if caught and not self.caught:
            self.caught.append(signal.SIGTERM)
        return due or caught

    def save(self, **facts: Any) -> None:
        """Write a checkpoint with these facts and those of the run."""
        self.checkpoints.save(self.model, self.step, **facts, seconds=self.seconds(), **self.facts)
        self.saved_step, self.saved_at = self.step, time.monotonic()

    def seconds(self) -> float:
        """Return the time of training, summed over all processes of the run."""
        return self.seconds_before + time.monotonic() - self.began

    def leave_if_caught(self) -> None:
        """Raise Stopped if a signal has come."""
        if self.caught:
            print(flush=True)  # The progress bar left its line open.
            raise Stopped(self.caught[0], self.step, self.total)


def check_losses(model: keras.Model, logs: Mapping[str, float], step: int) -> None:
    """Raise Diverged, naming the terms, if a loss in `logs` is not finite."""
    if bad := lost_losses(model, logs):
        terms = [name for name in bad if name != "loss"] or bad
        raise Diverged(
            f"{', '.join(terms)} is not finite at step {step}: stopped; checkpoints "
            "from before, if any, are kept; try a lower learning rate in another --workdir"
        )
