"""Engineering functions of 6 to 10 inputs, learned by `fit_surrogate` and by other programs.

All get the same points and one thread. Errors are those of `train.regression.engineering`: values'
over their deviation, gradients' over their size on a unit box.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from train.bench import benchmark, surrogates
from train.regression import engineering
from train.regression.problems import PROBLEMS

OURS = "fit_surrogate"
LEARNERS = ("SMT GEKPLS", OURS, "JENN", "SMT GENN", "gradient GP by hand")  # in this order
BARS = (  # others (the best of them), largest ratio of value errors, the bar
    (("SMT GEKPLS",), 1.0, "5 of 6"),
    (("JENN", "SMT GENN"), 0.3, "6 of 6"),
    (("gradient GP by hand",), 1.5, "3 of 6"),
)


def rows(
    names: Sequence[str] = tuple(PROBLEMS),
    sizes: Sequence[int] = (10, 30),
    seed: int = 0,
    learners: Sequence[str] = LEARNERS,
) -> benchmark.Rows:
    """Yield errors and processor seconds of every learner, and how often bars are met.

    The slowest learner, whose time grows with the cube of the number of labels, comes last, and
    begins with the smallest problem.

    Args:
      names: problems.
      sizes: training points over the inputs.
      seed: of the points.
      learners: some of `LEARNERS`, in any order.
    """
    peers = set(surrogates.installed())
    present = [name for name in LEARNERS if name in learners and (name == OURS or name in peers)]
    names = sorted(names, key=lambda name: PROBLEMS[name].inputs)
    for size in sizes:
        value: dict[tuple[str, str], float] = {}
        for learner in present:
            for name in names:
                if numbers := result(learner, name, size, seed):
                    value[name, learner] = numbers["value_error"]
                    for measure in engineering.MEASURES:
                        text = measure.replace("_", " ")
                        yield f"{name}, {size} points an input, {learner}: {text}", numbers[measure]
        yield from bars_met(value, size)


def bars_met(value: Mapping[tuple[str, str], float], size: int) -> benchmark.Rows:
    """Yield on how many problems each bar is met, from value errors by problem and learner."""
    names = dict.fromkeys(name for name, _ in value)
    for others, most, bar in BARS:
        ratios = [
            value[name, OURS] / min(value[name, other] for other in others)
            for name in names
            if all((name, learner) in value for learner in (OURS, *others))
        ]
        if ratios:
            text = f"{size} points an input: value errors at most {most} of"
            met = sum(ratio <= most for ratio in ratios)
            yield f"{text} {' and '.join(others)}'s (bar {bar})", met


def result(learner: str, name: str, size: int, seed: int) -> dict[str, Any] | None:
    """Compute a learner's errors and seconds on a problem; None if it failed."""
    if learner == OURS:
        return engineering.measure(engineering.Cell(name, size, 0.0, seed, "surrogate"))
    return theirs(learner, name, size, seed)


def theirs(peer: str, name: str, size: int, seed: int) -> dict[str, float] | None:
    """Train a peer on a problem: its errors and seconds, or None if it failed."""
    problem, test = PROBLEMS[name], engineering.test_points(name)
    x, y, dy = engineering.data(name, size, 0.0, seed)
    domain = np.ravel(np.stack([problem.low, problem.high], 1))
    arrays = {"x": x, "y": y, "dy": dy[:, 0], "test": test.x, "domain": domain, "seed": seed}
    predicted = surrogates.predictions(peer, arrays)
    if predicted is None:
        return None
    value, gradient, seconds = predicted
    return engineering.errors(name, value, gradient, test) | {"seconds": seconds}
