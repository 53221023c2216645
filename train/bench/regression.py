"""Section 4.1's functions, learned by other programs and by `train.regression`'s two presets.

All get the same points, one thread, and the first seed. Errors are root mean squares over
test points: of the value, and of the gradient's error vector.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from train.bench import benchmark, surrogates
from train.lib.run import processes
from train.regression import functions, recipes

OURS = {"sobolev_tf, modern": "modern", "sobolev_tf, paper": "paper"}
BARS = (  # of the modern preset: points, peers, largest ratio of RMSE, on how many functions
    (100, ("JENN", "SMT GENN"), 0.5, 6),
    (20, ("SMT GEKPLS",), 1.0, 5),
    (100, ("SMT GEKPLS",), 1.0, 4),
)


def rows(
    names: Sequence[str] = tuple(functions.SEVEN),
    sizes: Sequence[int] = (20, 100),
    changes: Mapping[str, Any] | None = None,
) -> benchmark.Rows:
    """Yield value RMSE, gradient RMSE and seconds of every learner, and how often bars are met.

    Args:
      names: functions of section 4.1.
      sizes: numbers of training points.
      changes: what to change in both presets.
    """
    peers = list(surrogates.installed())
    cases = [(name, size) for size in sizes for name in names]
    chosen: dict[str, dict[str, Any]] = {
        preset: {**recipes.PRESETS[preset], **(changes or {})} for preset in OURS.values()
    }
    tasks = [
        recipes.Task(
            function=name,
            domain=None,
            size=size,
            method="sobolev",
            seed=0,
            preset=preset,
            hidden=tuple(map(int, chosen[preset]["hidden"])),
            steps=chosen[preset]["steps"],
            batch_size=chosen[preset].get("batch_size"),
        )
        for name, size in cases
        for preset in chosen
    ]
    ours = {(t.function, t.size, t.preset): r for t, r in processes.run(_ours, tasks, 1)}
    value = {}
    for name, size in cases:
        results = {title: ours[name, size, preset] for title, preset in OURS.items()}
        theirs = {peer: _theirs(peer, name, size) for peer in peers}
        results |= {peer: numbers for peer, numbers in theirs.items() if numbers}
        for learner, numbers in results.items():
            value[name, size, learner] = numbers[0]
            measures = ("test RMSE", "gradient RMSE", "seconds")
            for measure, number in zip(measures, numbers, strict=True):
                yield f"{name}, {size} points, {learner}: {measure}", number
    for size, others, most, bar in BARS:
        ratios = [
            value[name, size, "sobolev_tf, modern"]
            / min(value[name, size, other] for other in others)
            for name in names
            if all((name, size, other) in value for other in others)
        ]
        if ratios:
            text = f"{size} points: functions with RMSE at most {most} of {' and '.join(others)}"
            yield f"{text} (bar {bar} of 7)", sum(ratio <= most for ratio in ratios)


def _ours(task: recipes.Task) -> tuple[float, float, float]:
    began = time.perf_counter()
    function = functions.resolve(task.function)
    model = recipes.train(function, task)
    seconds = time.perf_counter() - began
    value, gradient = recipes.mean_squared_errors(model, recipes.test_points(function))
    return float(np.sqrt(value)), float(np.sqrt(gradient)), seconds


def _theirs(peer: str, name: str, size: int) -> tuple[float, float, float] | None:
    function = functions.resolve(name)
    test = recipes.test_points(function)
    points = functions.labeled_points(function, size, seed=(0, size))
    y, dy = points.labels
    arrays = {"x": points.x, "y": y, "dy": dy[:, 0], "test": test.x}
    predicted = surrogates.predictions(peer, arrays | {"domain": function.domain, "seed": 0})
    if predicted is None:
        return None
    value, gradient, seconds = predicted
    return (
        float(np.sqrt(np.mean((value - test.labels[0]) ** 2))),
        float(np.sqrt(np.mean(np.sum((gradient - test.labels[1][:, 0]) ** 2, 1)))),
        seconds,
    )
