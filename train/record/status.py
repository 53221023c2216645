"""The observer that prints the progress of a recording."""

from train.lib.atari.trajectory import Trajectory
from train.lib.run.progress import Clock, format_seconds
from train.record.recorder import Recorder


class Status:
    """Observer: prints recorded steps, whole and open episodes, and the time left.

    Args:
      recorder: called before this observer.
      recorded: number of steps in shards of an earlier run.
      usual: about how many steps an episode has, for an estimate before one has ended.
      seconds: time between two lines.
    """

    def __init__(
        self, recorder: Recorder, recorded: int = 0, usual: int | None = None, seconds: float = 5
    ):
        self.recorder, self.recorded, self.usual, self.turns = recorder, recorded, usual, 0
        self.clock = Clock(recorded, recorded + recorder.num_steps, every=seconds)

    def __call__(self, trajectory: Trajectory) -> None:
        self.turns += 1
        if self.recorder.recording.any():
            self.print(now=False)

    def print(self, now: bool = True) -> None:
        """Print the line; without `now`, only if it is due."""
        self.clock.print_line(lambda: self.line(self.clock.seconds()), now)

    def line(self, seconds: float) -> str:
        """Return the line after so many seconds of play."""
        recorder = self.recorder
        parts = [
            f"{self.recorded + recorder.num_seen} steps",
            f"{len(recorder.lengths)} whole and {recorder.recording.sum()} open episodes",
            f"{recorder.num_seen / seconds:.0f} steps/s",
        ]
        left = recorder.turns_left(self.usual)
        if left is None:
            parts.append("time left unknown until an episode ends")
        elif left:
            parts.append(f"about {format_seconds(seconds / self.turns * left)} left")
        return ", ".join(parts)
