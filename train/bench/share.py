"""What derivatives of a share of a batch's rows give at equal processor time.

The time of a step is measured for each share, in turns, and each share gets as many steps as take
the time of the full term's. Every share is trained at several learning rates, since its gradients
are noisier; the best rate counts. For distillation and for critics there is the time of a step,
from which follow the --steps of equal time for train.distill and train.cifar10.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

import sobolev_tf as st
from train import cifar10
from train.bench import benchmark, cost, distill
from train.pricing import nets, products
from train.regression.problems import PROBLEMS

SHARES = (1.0, 0.25, 0.125)
BATCH, TEST_SEED = 256, 10**6
WIDTH, IMAGES = 0.125, 128  # of CIFAR-10's net, and in a batch


class Task(NamedTuple):
    """A net, its training points and its test points.

    Attributes:
      net: makes the net.
      rates: the highest of the one-cycle schedule, to choose from.
      tables: from a seed to training and test points with labels.
    """

    net: Callable[[], keras.Model]
    rates: tuple[float, ...]
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
    yield from steps_of_students_and_critics(min(steps, 6))
    for name, task in _tasks(points).items():
        table = task.tables(0)[0]
        models = [_model(task, table, share, task.rates[0], steps) for share in SHARES]
        relative = _relative_seconds(models, _batch(table), min(steps, 64))
        best: dict[float, np.ndarray] = {}
        for share, seconds in zip(SHARES, relative, strict=True):
            where = f"{name}, derivatives of {share:g} of the rows"
            yield f"{where}: seconds a step over the full term's", seconds
            medians = []
            for rate in task.rates:
                tries = [_errors(task, share, rate, round(steps / seconds), s) for s in seeds]
                medians.append(np.median(tries, axis=0))
                for measure, error in zip(("value", "slope"), medians[-1], strict=True):
                    yield f"{where}, rate {rate:g}: {measure} RMSE at equal seconds", error
            best[share] = np.min(medians, axis=0)
            if share < 1:
                for measure, ratio in zip(("value", "slope"), best[share] / best[1.0], strict=True):
                    yield f"{where}: {measure} RMSE over the full term's, at best rates", ratio


def steps_of_students_and_critics(calls: int, turns: int = 5) -> benchmark.Rows:
    """Processor seconds and arithmetic count of a step for each share, over the full term's.

    Args:
      calls: steps in a turn.
      turns: how many.
    """
    teacher = st.targets.Teacher(
        st.nets.with_patch_convolutions(st.nets.atari_teacher(distill.ACTIONS)), output=0
    )
    students = [distill.student(teacher, 1.0, share) for share in SHARES]
    critics = [_decoupled(share) for share in SHARES]
    images = np.random.default_rng(0).normal(size=[IMAGES, 32, 32, 3]).astype("float32")
    for name, models, data in (
        ("distillation, batch 200", students, distill.batch()),
        ("CIFAR-10, three cuts", critics, (images, np.arange(IMAGES) % 10)),
    ):
        relative = _relative_seconds(models, data, calls, turns)
        counts = [cost.products(model, data) for model in models]
        for share, seconds, count in zip(SHARES, relative, counts, strict=True):
            where = f"{name}, derivatives of {share:g} of the rows"
            yield f"{where}: seconds a step over the full term's", seconds
            yield f"{where}: arithmetic count over the full term's", count / counts[0]


def _decoupled(share: float) -> st.DecoupledModel:
    stages = st.split(st.nets.cifar10(10, WIDTH, 32), at=cifar10.CUTS[3])
    critic = functools.partial(st.synthetic.cifar_critic, channels=round(WIDTH * 128))
    model = st.DecoupledModel(stages, critic, "sobolev")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", "adam", loss, derivative_share=share)
    return model


def _tasks(points: int) -> dict[str, Task]:
    return {
        "Styblinski-Tang, 2x256": Task(
            lambda: st.nets.mlp(2, hidden=[256] * 2, activation="silu"),
            (1e-3, 3e-3),
            lambda seed: (
                benchmark.styblinski_tang(points, seed),
                benchmark.styblinski_tang(points, TEST_SEED),
            ),
        ),
        "water flow (8 inputs), 2x256": Task(
            lambda: st.nets.mlp(8, hidden=[256] * 2, activation="silu"),
            (1e-3, 3e-3),
            lambda seed: (_water_flow(points, seed), _water_flow(points, TEST_SEED)),
        ),
        "basket of 7, 4x20": Task(
            lambda: st.nets.mlp(7, hidden=[20] * 4, activation="softplus"),
            (0.03, 0.1),
            lambda seed: (
                products.make("basket", 7).paths(points, (seed,)),
                products.make("basket", 7).prices(points, (TEST_SEED,)),
            ),
        ),
    }


def _water_flow(points: int, seed: int) -> st.targets.Table:
    return PROBLEMS["water_flow"].points(points, (seed,))


def _model(
    task: Task, table: st.targets.Table, share: float, rate: float, steps: int
) -> st.SobolevModel:
    model = st.SobolevModel(task.net())
    rate = st.schedules.OneCycle(rate, steps)
    model.compile(keras.optimizers.Adam(rate), component_weights="rms", derivative_share=share)
    model.adapt(table.x, table.labels)
    return model


def _relative_seconds(
    models: Sequence[keras.Model], data: Any, calls: int, turns: int = 9
) -> np.ndarray:
    """Processor seconds of a step of each model over the first one's: medians of turns."""
    runs = [benchmark.step_runner(model, data) for model in models]
    seconds = []
    for _ in range(turns + 1):  # the first one warms up
        times = []
        for run in runs:
            began = time.process_time()
            run(calls)
            times.append((time.process_time() - began) / calls)
        seconds.append(times)
    medians = np.median(seconds[1:], axis=0)
    return medians / medians[0]


def _errors(task: Task, share: float, rate: float, steps: int, seed: int) -> list[float]:
    """Root mean square errors of values and slopes after some steps."""
    keras.utils.set_random_seed(seed)
    table, test = task.tables(seed)
    model = _model(task, table, share, rate, steps)
    x, *labels = _rows(table, None)
    size = min(BATCH, len(x))
    model.fit(x, tuple(labels), batch_size=size, steps_per_epoch=steps, verbose=0)
    jet = model.predict_jet(_rows(test, None)[0], batch_size=2048)
    predicted = (jet.value, jet.derivatives[0])
    return nets.root_mean_squares(predicted, test.labels)


def _batch(table: st.targets.Table) -> tuple:
    x, *labels = _rows(table, BATCH)
    return x, tuple(labels)


def _rows(table: st.targets.Table, count: int | None) -> list[np.ndarray]:
    return [np.asarray(part[:count], "float32") for part in (table.x, *table.labels)]
