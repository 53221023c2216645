"""One line that says where long work stands and how long it will take."""

import datetime
import sys
import time

import keras


class Progress(keras.callbacks.Callback):
    """Prints step, time left of the whole run, and the logs in `names`.

    On a terminal the line is rewritten in place, elsewhere there is a new one every `seconds`.
    Keras's own bar shows every metric, which is a screenful with the diagnostics of three cuts.

    Args:
      total: steps of the whole run.
      names: {key in logs: how to print it}, in the order to print.
      left: what stands after the time left.
      seconds: between two lines where the output is not a terminal.

    >>> callbacks = [Progress(640, names={"loss": "loss", "accuracy": "top-1"})]
    """

    def __init__(self, total, names=None, left="left", seconds=20, out=None):
        super().__init__()
        self.total, self.names, self.out = total, names or {"loss": "loss"}, out or sys.stdout
        self.unit = left
        self.every = 0.5 if self.out.isatty() else seconds
        self.began = self.timed_from = None
        self.printed_at = 0.0

    def on_train_begin(self, logs=None):
        # A resumed run does not begin at step 0.
        self.step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        if self.began is None:
            together = self.model.steps_per_execution
            first = f"the first {together} steps" if together > 1 else "the first step"
            show(f"step {self.step}/{self.total}, tracing {first}", self.out)

    def on_epoch_begin(self, epoch, logs=None):
        self.batch = 0

    def on_train_batch_end(self, batch, logs=None):
        # With steps_per_execution, `batch` jumps by several.
        self.step += batch + 1 - self.batch
        self.batch = batch + 1
        now = time.monotonic()
        if self.began is None:
            # The first step compiles, and says nothing about those to come.
            self.began, self.timed_from = now, self.step
        if now - self.printed_at >= self.every or self.step == self.total:
            self.printed_at = now
            self._print(now, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._print(time.monotonic(), logs)
        if self.out.isatty():
            print(file=self.out, flush=True)

    def _print(self, now, logs):
        show(line(self.step, self.total, self.left(now), logs, self.names, self.unit), self.out)

    def left(self, now):
        """Seconds until the last step, None as long as nothing was timed."""
        done = 0 if self.timed_from is None else self.step - self.timed_from
        return (now - self.began) / done * (self.total - self.step) if done else None


class Bar:
    """Prints how much of a known amount of work is done, and the time left.

    total: in any unit that is roughly proportional to time.

    >>> bar = Bar(total=3)
    """

    def __init__(self, total, out=None):
        self.total, self.done, self.out = total, 0, out or sys.stdout
        self.began = time.monotonic()

    def add(self, amount, text):
        """Counts `amount` as done, and prints it after the time left."""
        self.done += amount
        left = (time.monotonic() - self.began) / self.done * (self.total - self.done)
        show(f"{self.done / self.total:4.0%}, {time_of(left)} left in all, {text}", self.out)


def line(step, total, left, logs, names, unit="left"):
    """The line itself.

    >>> line(10, 40, 75.2, {"loss": 1.25, "val_accuracy": 0.5}, {"loss": "loss"})
    'step 10/40, 0:01:15 left, loss 1.25'
    """
    parts = [f"step {step}/{total}"]
    if left is not None:
        parts.append(f"{time_of(left)} {unit}")
    parts += [f"{text} {float(logs[name]):.3g}" for name, text in names.items() if name in logs]
    return ", ".join(parts)


def show(text, out):
    """Prints a line; on a terminal, in place of the one before."""
    tty = out.isatty()
    print(f"\r\033[K{text}" if tty else text, end="" if tty else "\n", file=out, flush=True)


def time_of(seconds):
    """Whole seconds as h:mm:ss."""
    return str(datetime.timedelta(seconds=round(seconds)))
