"""What derivatives of a share of a batch's rows give at equal processor time.

The time of a step is measured for each share, in turns, and each share gets as many steps as take
the time of the full term's.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np

import sobolev_tf as st
from train.bench import benchmark
from train.pricing import nets, products
from train.regression.problems import PROBLEMS

SHARES = (1.0, 0.5, 0.25, 0.125)
BATCH, TEST_SEED = 256, 10**6


class Task(NamedTuple):
    """A net, its training points and its test points.

    Attributes:
      net: makes the net.
      rate: the highest of the one-cycle schedule.
      tables: from a seed to training and test points with labels.
    """

    net: Callable[[], keras.Model]
    rate: float
    tables: Callable[[int], tuple[st.targets.Table, st.targets.Table]]


def rows(
    steps: int = 2000, seeds: Sequence[int] = (0, 1, 2), points: int = 10_000
) -> benchmark.Rows:
    """Test RMSE of values and slopes at equal seconds, each share over the full term.

    Args:
      steps: of the full term.
      seeds: of points and weights; the median counts.
      points: for training; a test has as many.
    """
    for name, task in _tasks(points).items():
        models = {share: _model(task, task.tables(0)[0], share, steps) for share in SHARES}
        seconds = _seconds_a_step(list(models.values()), task.tables(0)[0], min(steps, 64))
        relative = dict(zip(SHARES, seconds / seconds[0], strict=True))
        medians: dict[float, np.ndarray] = {}
        for share in SHARES:
            length = round(steps / relative[share])
            medians[share] = np.median(
                [_errors(task, share, length, seed) for seed in seeds], axis=0
            )
            where = f"{name}, derivatives of {share:g} of the rows"
            yield f"{where}: seconds a step over the full term's", relative[share]
            for measure, error, full in zip(
                ("value", "slope"), medians[share], medians[1.0], strict=True
            ):
                yield f"{where}: {measure} RMSE at equal seconds", error
                if share < 1:
                    yield f"{where}: {measure} RMSE over the full term's", error / full


def _tasks(points: int) -> dict[str, Task]:
    return {
        "Styblinski-Tang, 2x256": Task(
            lambda: st.nets.mlp(2, hidden=[256] * 2, activation="silu"),
            3e-3,
            lambda seed: (
                benchmark.styblinski_tang(points, seed),
                benchmark.styblinski_tang(points, TEST_SEED),
            ),
        ),
        "water flow (8 inputs), 2x256": Task(
            lambda: st.nets.mlp(8, hidden=[256] * 2, activation="silu"),
            3e-3,
            lambda seed: (_water_flow(points, seed), _water_flow(points, TEST_SEED)),
        ),
        "basket of 7, 4x20": Task(
            lambda: st.nets.mlp(7, hidden=[20] * 4, activation="softplus"),
            0.1,
            lambda seed: (
                products.make("basket", 7).paths(points, (seed,)),
                products.make("basket", 7).prices(points, (TEST_SEED,)),
            ),
        ),
    }


def _water_flow(points: int, seed: int) -> st.targets.Table:
    return PROBLEMS["water_flow"].points(points, (seed,))


def _model(task: Task, table: st.targets.Table, share: float, steps: int) -> st.SobolevModel:
    model = st.SobolevModel(task.net())
    rate = st.schedules.OneCycle(task.rate, steps)
    model.compile(keras.optimizers.Adam(rate), component_weights="rms", derivative_share=share)
    model.adapt(table.x, table.labels)
    return model


def _seconds_a_step(
    models: Sequence[st.SobolevModel], table: st.targets.Table, calls: int, turns: int = 9
) -> np.ndarray:
    """Median processor seconds of a step of each model, measured in turns."""
    batch = tuple(_rows(table, BATCH))
    runs = [benchmark.step_runner(model, (batch[0], batch[1:])) for model in models]
    seconds = []
    for _ in range(turns + 1):  # the first one warms up
        times = []
        for run in runs:
            began = time.process_time()
            run(calls)
            times.append((time.process_time() - began) / calls)
        seconds.append(times)
    return np.median(seconds[1:], axis=0)


def _errors(task: Task, share: float, steps: int, seed: int) -> list[float]:
    """Root mean square errors of values and slopes after some steps."""
    keras.utils.set_random_seed(seed)
    table, test = task.tables(seed)
    model = _model(task, table, share, steps)
    x, *labels = _rows(table, None)
    size = min(BATCH, len(x))
    model.fit(x, tuple(labels), batch_size=size, steps_per_epoch=steps, verbose=0)
    jet = model.predict_jet(_rows(test, None)[0], batch_size=2048)
    predicted = (jet.value, jet.derivatives[0])
    return nets.root_mean_squares(predicted, test.labels)


def _rows(table: st.targets.Table, count: int | None) -> list[np.ndarray]:
    return [np.asarray(part[:count], "float32") for part in (table.x, *table.labels)]
