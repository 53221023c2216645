"""The choices of the flags: shares of the recording, methods, learning rates and alphas."""

from typing import NamedTuple

from train.distill.students import METHODS
from train.lib.run import unused_flags
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


def numbers(settings: Settings, flag: str, low: float, high: float) -> list[float]:
    """Return a flag's numbers in their order.

    Raises UsageError unless all are above `low` and below `high`.
    """
    values = settings.values[flag]
    typed = values if isinstance(values, tuple) else (values,)
    try:
        parsed = sorted({float(value) for value in typed})
    except ValueError:
        parsed = []
    if not parsed or not all(low < value < high for value in parsed):
        text = ",".join(map(str, typed))
        raise UsageError(f"--{flag}={text}: expected numbers above {low} and below {high}")
    return parsed


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
    learning_rates = numbers(settings, rates, 0, 10)
    alphas = numbers(settings, "alphas" if settings.alpha is None else "alpha", 0, 1e9)
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
