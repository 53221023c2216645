"""The README's example: what derivatives add at the same number of steps."""

import statistics

import keras
import numpy as np

import sobolev_tf as st
from train.bench import benchmark


def rows(seeds=(0, 1, 2), steps: int = 2000) -> benchmark.Rows:
    """Styblinski-Tang, 100 points: test RMSE with derivatives over without, same steps."""
    rmse = [(_test_rmse(seed, 1, steps), _test_rmse(seed, 0, steps)) for seed in seeds]
    ratio = statistics.median(a / b for a, b in rmse)
    yield "quick start: test RMSE, SobolevModel", statistics.median(a for a, _ in rmse)
    yield "quick start: test RMSE, values only", statistics.median(b for _, b in rmse)
    yield "quick start: ratio, median of seeds (bar 0.7)", ratio


def _test_rmse(seed, order, steps):
    """The README's recipe; order 0 is the same with values only."""
    keras.utils.set_random_seed(seed)
    table, test = (
        benchmark.styblinski_tang(100, seed),
        benchmark.styblinski_tang(10_000, seed + 1000),
    )
    model = st.SobolevModel(st.nets.mlp(2, activation="silu"), order=order)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate), steps_per_execution=100)
    data = st.targets.Table(table.x, *table.labels[: order + 1]).dataset(100)
    model.fit(data, steps_per_epoch=steps, verbose=0)
    error = model.predict(test.x, verbose=0, batch_size=1000) - test.labels[0]
    return float(np.sqrt(np.mean(error**2)))
