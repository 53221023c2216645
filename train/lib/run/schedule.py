"""How long a network is trained: in epochs or steps, with evaluations in between."""

from typing import NamedTuple

from train.lib.run import unused_flags
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings


class Length(NamedTuple):
    """How many epochs of how many steps; an epoch lasts from one evaluation to the next."""

    epochs: int
    steps_per_epoch: int
    schedule_steps: int  # of the learning rate's schedule; may be more than all steps

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch


def length(settings: Settings, data_steps: int) -> Length:
    """Return the length that --epochs, --steps, --schedule_steps and --num_evals give.

    Args:
      settings: those of the command.
      data_steps: steps that see all of the data once, an epoch of --epochs.

    Raises:
      UsageError: if the flags contradict each other.
    """
    if "epochs" in settings.typed and "steps" in settings.typed:
        raise UsageError("--epochs and --steps both say how long to train: give one of them")
    if settings.epochs:
        command = "--epochs, which has an evaluation after each epoch"
        unused_flags.refuse(settings, ["num_evals"], command)
        epochs, steps_per_epoch = settings.epochs, data_steps
        typed = f"--epochs={epochs}, {epochs * data_steps} steps,"
        remedy = "a divisor, or give --steps in place of --epochs"
    else:
        whole_schedule = "schedule_steps" in settings.typed and "steps" not in settings.typed
        steps = settings.schedule_steps if whole_schedule else settings.steps
        epochs, steps_per_epoch = pieces(steps, settings.num_evals)
        typed = f"--steps={steps}"
        remedy = "another, or other --steps or --num_evals"
    steps = epochs * steps_per_epoch
    result = Length(epochs, steps_per_epoch, settings.schedule_steps or steps)
    if steps > result.schedule_steps:
        raise UsageError(f"{typed} is past the end of --schedule_steps={result.schedule_steps}")
    if result.steps_per_epoch % settings.steps_per_execution:
        raise UsageError(
            f"--steps_per_execution={settings.steps_per_execution} does not divide the "
            f"{result.steps_per_epoch} steps between two evaluations: choose {remedy}"
        )
    return result


def pieces(steps: int, most: int) -> tuple[int, int]:
    """Return (n, steps / n): at most `most` equal pieces.

    >>> pieces(100, 30)
    (25, 4)
    """
    count = largest_divisor(steps, most)
    return count, steps // count


def largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of `number` that is at most `most`.

    Of a number of steps, it is a steps_per_execution that trains no more than these.

    >>> largest_divisor(100, 30)
    25
    """
    return next(n for n in range(min(most, number), 0, -1) if number % n == 0)
