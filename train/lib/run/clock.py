"""Where a long run stands, for those that are no Keras `fit`."""

import time

from train.lib.run import progress


class Clock:
    """Counts steps and seconds, and prints them with the time left.

    Args:
      step, seconds: where the run goes on; seconds sum up over all of its processes.
      total: steps of the whole run.
      names: {key in logs: how to print it}, in the order to print.
    """

    def __init__(self, step, total, seconds, names, every=20):
        self.step = self.first_step = step
        self.total, self.before, self.names, self.every = total, seconds, names, every
        self.began = self.printed_at = time.monotonic()

    def seconds(self):
        return self.before + time.monotonic() - self.began

    def speed(self):
        """Steps a second of this process."""
        return (self.step - self.first_step) / (time.monotonic() - self.began)

    def print(self, logs, now=False):
        """Print a line; without `now`, not more often than every `every` seconds."""
        if not now and time.monotonic() - self.printed_at < self.every:
            return
        self.printed_at = time.monotonic()
        speed = self.speed()
        left = (self.total - self.step) / speed if speed and self.step < self.total else None
        logs, names = {"speed": speed, **logs}, {"speed": "steps/s", **self.names}
        print(progress.line(self.step, self.total, left, logs, names), flush=True)
