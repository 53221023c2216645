"""The observer that prints how far a recording is."""

import sys
import time

from train.lib.atari.trajectory import Trajectory
from train.lib.run import progress
from train.record.recorder import Recorder


class Status:
    """Observer: prints recorded steps, whole and open episodes, and the time left.

    Args:
      recorder: called before this observer.
      recorded: steps of the shards that were there before.
      seconds: between two lines.
    """

    def __init__(self, recorder: Recorder, recorded: int = 0, seconds: float = 5):
        self.recorder, self.recorded, self.every = recorder, recorded, seconds
        self.turns = 0
        self.began = self.printed_at = time.monotonic()

    def __call__(self, trajectory: Trajectory) -> None:
        self.turns += 1
        if time.monotonic() - self.printed_at >= self.every and self.recorder.recording.any():
            self.print()

    def print(self) -> None:
        """Print the line now."""
        self.printed_at = time.monotonic()
        progress.show(self.line(self.printed_at - self.began), sys.stdout)

    def line(self, seconds: float) -> str:
        """Return the line after so many seconds of play."""
        recorder = self.recorder
        parts = [
            f"{self.recorded + recorder.num_seen} steps",
            f"{len(recorder.lengths)} whole and {recorder.recording.sum()} open episodes",
            f"{recorder.num_seen / seconds:.0f} steps/s",
        ]
        left = recorder.turns_left()
        if left is None:
            parts.append("time left unknown until an episode ends")
        elif left:
            parts.append(f"about {progress.format_seconds(seconds / self.turns * left)} left")
        return ", ".join(parts)
