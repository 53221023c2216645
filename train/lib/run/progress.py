"""A line of progress: how far long work is, how fast it is, and how much time is left."""

import datetime
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

import keras

TERMINAL_SECONDS = 0.5  # between two lines on a terminal, where each replaces the one before


class Meter:
    """A counter of work that knows its speed.

    Args:
      total: amount of the whole work, in any unit that is roughly proportional to time.
      done: the part that was done before; it says nothing about the speed.
    """

    def __init__(self, total: float, done: float = 0):
        self.total, self.done = total, done
        self.restart()

    def restart(self) -> None:
        """Measure the speed from here."""
        self.first, self.began = self.done, time.monotonic()

    def rate(self) -> float | None:
        """Return the work done in a second, or None as long as none was measured."""
        measured = self.done - self.first
        return measured / (time.monotonic() - self.began) if measured else None

    def left(self) -> float | None:
        """Return the seconds until the end, or None at the end or without a speed."""
        rate = self.rate()
        return (self.total - self.done) / rate if rate and self.done < self.total else None


class Progress(keras.callbacks.Callback):
    """A callback that prints step, time left of the whole run, steps per second, and some logs.

    On a terminal the line is rewritten in place, elsewhere there is a new one every `seconds`.
    Keras's own bar shows every metric, which is a screenful with the diagnostics of three cuts.

    Args:
      total: steps of the whole run.
      names: the logs to print, in this order; or {log: its name on the line}.
      left: what stands after the time left.
      seconds: between two lines where the output is not a terminal.
      out: where to print; default: standard output.

    Example:
      >>> callbacks = [Progress(640, names=["loss", "accuracy", "val_accuracy"])]
    """

    def __init__(
        self,
        total: int,
        names: Iterable[str] | Mapping[str, str] = ("loss",),
        left: str = "left",
        seconds: float = 20,
        out: TextIO | None = None,
    ):
        super().__init__()
        self.names, self.left, self.out = names_on_line(names), left, out or sys.stdout
        self.every = TERMINAL_SECONDS if self.out.isatty() else seconds
        self.meter = Meter(total)
        self.traced = False
        self.printed_at = 0.0

    def on_train_begin(self, logs=None):
        # A resumed run does not begin at step 0.
        self.meter.done = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        if not self.traced:
            steps = self.model.steps_per_execution
            first = f"the first {steps} steps" if steps > 1 else "the first step"
            show(f"step {self.meter.done}/{self.meter.total}, tracing {first}", self.out)

    def on_epoch_begin(self, epoch, logs=None):
        self.batch = 0

    def on_train_batch_end(self, batch, logs=None):
        # With steps_per_execution, `batch` jumps by several.
        self.meter.done += batch + 1 - self.batch
        self.batch = batch + 1
        if not self.traced:  # The first step compiles, and says nothing about those to come.
            self.meter.restart()
            self.traced = True
        due = time.monotonic() - self.printed_at >= self.every
        if due or self.meter.done == self.meter.total:
            self.print(logs)

    def on_epoch_end(self, epoch, logs=None):
        self.print(logs)
        if self.out.isatty():
            print(file=self.out, flush=True)

    def print(self, logs: Mapping[str, Any]) -> None:
        """Print the line."""
        self.printed_at = time.monotonic()
        show(line(self.meter, logs, self.names, self.left), self.out)


class Clock:
    """A counter of the steps and seconds of a loop that is no Keras `fit`, which prints them.

    Args:
      step: where the run stands.
      total: steps of the whole run; may be infinite.
      seconds: time of the run's processes before this one.
      names: the logs to print, in this order; or {log: its name on the line}.
      every: seconds between two lines.
    """

    def __init__(
        self,
        step: int,
        total: float,
        seconds: float = 0,
        names: Iterable[str] | Mapping[str, str] = (),
        every: float = 20,
    ):
        self.meter = Meter(total, done=step)
        self.first_step, self.seconds_before = step, seconds
        self.names, self.every = names_on_line(names), every
        self.began = self.printed_at = time.monotonic()

    @property
    def step(self) -> int:
        """Where the run stands: to be set by the loop."""
        return int(self.meter.done)

    @step.setter
    def step(self, step: int) -> None:
        self.meter.done = step

    def seconds(self) -> float:
        """Return the time of the run, summed over all of its processes."""
        return self.seconds_before + time.monotonic() - self.began

    def print(self, logs: Mapping[str, Any], now: bool = False) -> None:
        """Print the line of `logs`; without `now`, not more often than every `every` seconds."""
        self.print_line(lambda: line(self.meter, logs, self.names), now)

    def print_line(self, make_line: Callable[[], str], now: bool = False) -> None:
        """Print what `make_line` returns, as often as `print` does."""
        if now or time.monotonic() - self.printed_at >= self.every:
            self.printed_at = time.monotonic()
            print(make_line(), flush=True)


class Bar:
    """A printer of how much of a known amount of work is done, and the time left.

    Args:
      total: the amount, in any unit that is roughly proportional to time.
      out: where to print; default: standard output.

    Example:
      >>> bar = Bar(total=3)
    """

    def __init__(self, total: float, out: TextIO | None = None):
        self.meter, self.out = Meter(total), out or sys.stdout

    def add(self, amount: float, text: str) -> None:
        """Count `amount` as done, and print `text` after the time left."""
        self.meter.done += amount
        share, left = self.meter.done / self.meter.total, self.meter.left() or 0
        show(f"{share:4.0%}, {format_seconds(left)} left in all, {text}", self.out)

    def leave_out(self, amount: float) -> None:
        """Take `amount` off the work: it turns out to be done already."""
        self.meter.total -= amount


def names_on_line(names: Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    """Return {log: its name on the line}."""
    return dict(names) if isinstance(names, Mapping) else {name: name for name in names}


def line(
    meter: Meter,
    logs: Mapping[str, Any],
    names: Iterable[str] | Mapping[str, str],
    left: str = "left",
) -> str:
    """Return the line itself: step, time left, speed, and the logs in `names` that there are.

    >>> line(Meter(40, done=10), {"loss": 1.25, "val_accuracy": 0.5}, ["loss", "accuracy"])
    'step 10/40, loss 1.25'
    >>> line(Meter(40, done=10), {"val_kl": 0.5}, {"val_kl": "test_kl"})
    'step 10/40, test_kl 0.5'
    """
    parts = [f"step {meter.done}/{meter.total}"]
    seconds, rate = meter.left(), meter.rate()
    if seconds is not None:
        parts.append(f"{format_seconds(seconds)} {left}")
    if rate is not None:
        parts.append(f"{rate:.3g} steps/s")
    shown = names_on_line(names)
    parts += [f"{shown[name]} {float(logs[name]):.3g}" for name in shown if name in logs]
    return ", ".join(parts)


def show(text: str, out: TextIO) -> None:
    """Print a line; on a terminal, in place of the one before."""
    if out.isatty():
        print(f"\r\033[K{text}", end="", file=out, flush=True)
    else:
        print(text, file=out, flush=True)


def format_seconds(seconds: float) -> str:
    """Return whole seconds as h:mm:ss.

    >>> format_seconds(133.4)
    '0:02:13'
    """
    return str(datetime.timedelta(seconds=round(seconds)))
