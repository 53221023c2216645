"""The choices of the flags: shares of the recording, methods, learning rates and alphas."""

from typing import NamedTuple

from train.distill.students import METHODS
from train.lib.run import list_flags, unused_flags
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings


class Grid(NamedTuple):
    """Learning rates and alphas to choose from, in their order."""

    learning_rates: list[float]
    alphas: list[float]

    @property
    def num_trials(self) -> int:
        """Trainings of a search: the rates at the middle alpha, then the other alphas."""
        if len(self.learning_rates) * len(self.alphas) == 1:
            return 0
        return len(self.learning_rates) + len(self.alphas) - 1


def methods(settings: Settings) -> list[str]:
    """Return the methods of --method in the order of METHODS. Raises UsageError for others."""
    if not settings.method or set(settings.method) - set(METHODS):
        text = ",".join(settings.method)
        raise UsageError(f"--method={text}: expected some of {', '.join(METHODS)}")
    return [method for method in METHODS if method in settings.method]


def grids(settings: Settings) -> dict[str, Grid]:
    """Return what each method's learning rate and alpha are chosen from.

    Raises:
      UsageError: for bad numbers, or flags of a search where there is nothing to search.
    """
    rates = "learning_rates" if settings.learning_rate is None else "learning_rate"
    learning_rates = sorted(list_flags.distinct_numbers(settings, rates, below=10))
    weights = "alphas" if settings.alpha is None else "alpha"
    alphas = sorted(list_flags.distinct_numbers(settings, weights, below=1e9))
    for name in ("learning_rate", "alpha"):
        if settings.values[name] is not None and f"{name}s" in settings.typed:
            raise UsageError(
                f"--{name} is given, so there is nothing to search in --{name}s: drop one"
            )
    # Methods may be added as a run is resumed, so this asks for all of them.
    if not Grid(learning_rates, alphas).num_trials:
        command = "one learning rate and one alpha, which need no search"
        unused_flags.refuse(settings, ["search_steps", "search_percent"], command)
    return {
        method: Grid(learning_rates, alphas if method == "sobolev" else [0.0])
        for method in methods(settings)
    }
