"""Engineering functions of 6 to 10 inputs, learned by `fit_surrogate` and by other programs.

All get the same points and one thread. Errors are those of `train.regression.engineering`: values'
over their deviation, gradients' over their size on a unit box.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from train.bench import benchmark, surrogates
from train.regression import engineering
from train.regression.problems import PROBLEMS

OURS = "fit_surrogate"
OTHERS = ("SMT GEKPLS", "JENN", "SMT GENN", "gradient GP by hand")
BARS = (  # others (the best of them), largest ratio of value errors, the bar
    (("SMT GEKPLS",), 1.0, "5 of 6"),
    (("JENN", "SMT GENN"), 0.3, "6 of 6"),
    (("gradient GP by hand",), 1.5, "3 of 6"),
)


def rows(
    names: Sequence[str] = tuple(PROBLEMS), sizes: Sequence[int] = (10, 30), seed: int = 0
) -> benchmark.Rows:
    """Yield errors and processor seconds of every learner, and how often bars are met.

    Args:
      names: problems.
      sizes: training points over the inputs.
      seed: of the points.
    """
    peers = [peer for peer in surrogates.installed() if peer in OTHERS]
    for size in sizes:
        value: dict[tuple[str, str], float] = {}
        for name in names:
            for learner, numbers in results(peers, name, size, seed):
                value[name, learner] = numbers["value_error"]
                for measure in engineering.MEASURES:
                    text = measure.replace("_", " ")
                    yield f"{name}, {size} points an input, {learner}: {text}", numbers[measure]
        for others, most, bar in BARS:
            ratios = [
                value[name, OURS] / min(value[name, other] for other in others)
                for name in names
                if all((name, other) in value for other in others)
            ]
            if ratios:
                text = f"{size} points an input: value errors at most {most} of"
                met = sum(ratio <= most for ratio in ratios)
                yield f"{text} {' and '.join(others)}'s (bar {bar})", met


def results(
    peers: Sequence[str], name: str, size: int, seed: int
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each learner with its errors and seconds on a problem."""
    yield OURS, engineering.measure(engineering.Cell(name, size, 0.0, seed, "surrogate"))
    for peer in peers:
        if numbers := theirs(peer, name, size, seed):
            yield peer, numbers


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
