"""How nets are trained by each method (Huge & Savine's recipe), and how errors are measured.

Four layers of 20 softplus units on z-scores, 1,600 steps of Adam at a one-cycle rate up to 0.1,
batches of a 16th of the paths, but of 256 at least. In z-scores, slope j is weighted by one over
its root mean square: their lambda_j, with alpha : beta = 1 : D for means over D slopes, which is
1 : 1 for the sum that `SobolevModel` takes.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import sobolev_tf as st
from train.lib.run import cells, identity, schedule
from train.pricing import products

PRESETS = {"paper": {"hidden": ["20"] * 4, "steps": 1600, "learning_rate": 0.1}}
METHOD_NAMES = {
    "values": "values only",
    "sobolev": "Sobolev",
    "sobolev_half": "Sobolev, half of the slopes missing",
}
MISSING_SHARE = 0.5
TEST_POINTS, TEST_SEED = 10_000, 10**9
CURVE_POINTS = 300  # test points whose predictions are kept, for figures
STEPS_PER_EXECUTION = 32  # at most; without XLA, whose compilation takes longer than the training
# What a net's file holds: price and first delta at the first test points; RMSE of price and
# delta, and seconds.
NET_SHAPES = {"price": [CURVE_POINTS], "delta": [CURVE_POINTS], "scores": [3]}


@dataclasses.dataclass(frozen=True)
class Task:
    """One net to train, as plain data: any process can do it."""

    product: str
    num_assets: int
    paths: int
    method: str
    seed: int
    hidden: tuple[int, ...]
    steps: int
    learning_rate: float

    @property
    def key(self) -> dict[str, Any]:
        """What tells this net from the other nets of a run."""
        return {name: getattr(self, name) for name in ("product", "paths", "method", "seed")}


def training_paths(product: products.Product, task: Task) -> tuple[np.ndarray, list[np.ndarray]]:
    """Simulate the states [B,D] of a task with the labels that its method sees."""
    table = product.paths(task.paths, seed=(task.seed, task.paths))
    x, payoffs, slopes = (rows.astype("float32") for rows in (table.x, *table.labels))
    if task.method == "values":
        return x, [payoffs]
    if task.method == "sobolev_half":
        rng = np.random.default_rng([task.seed, task.paths, 1])
        slopes[rng.uniform(size=slopes.shape) < MISSING_SHARE] = np.nan
    return x, [payoffs, slopes]


def train(x: np.ndarray, labels: Sequence[np.ndarray], task: Task) -> st.SobolevModel:
    """Train the net of a task on states and their labels."""
    keras.utils.set_random_seed(task.seed)
    net = st.nets.mlp(x.shape[1], hidden=task.hidden, activation="softplus")
    model = st.SobolevModel(net)
    rate = st.schedules.OneCycle(task.learning_rate, task.steps)
    model.compile(
        keras.optimizers.Adam(rate),
        component_weights="rms",
        missing="nan",
        steps_per_execution=schedule.largest_divisor(task.steps, STEPS_PER_EXECUTION),
    )
    model.adapt(x, labels)
    batch_size = min(batch_size_of(len(x)), len(x))
    model.fit(x, labels, batch_size=batch_size, steps_per_epoch=task.steps, verbose=0)
    return model


def batch_size_of(paths: int) -> int:
    """Return Huge & Savine's batch size: 16 batches, or fewer of 256.

    >>> [batch_size_of(paths) for paths in (1024, 8192)]
    [256, 512]
    """
    return max(256, paths // 16)


def root_mean_squares(predicted: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> list[float]:
    """Return the RMSE of the price, and of the delta (of its error's norm)."""
    return [
        float(np.sqrt(np.mean(np.sum((_rows(a) - _rows(b)) ** 2, 1))))
        for a, b in zip(predicted, true, strict=True)
    ]


def _rows(array: np.ndarray) -> np.ndarray:
    return np.reshape(array, [len(array), -1])


def train_and_save(folder: Path, task: Task) -> str:
    """Train the net of a task and write its errors, and some predictions, to its file.

    Returns:
      A line of progress for people.
    """
    began = time.process_time()
    product = products.make(task.product, task.num_assets)
    model = train(*training_paths(product, task), task)
    seconds = time.process_time() - began
    test = product.prices(TEST_POINTS, seed=(TEST_SEED,))
    jet = model.predict_jet(test.x.astype("float32"), batch_size=2048)
    price, delta = jet.value, jet.derivatives[0]
    errors = root_mean_squares((price, delta), test.labels)
    arrays = {
        "price": price[:CURVE_POINTS, 0].astype("f4"),
        "delta": delta[:CURVE_POINTS, 0, 0].astype("f4"),
        "scores": np.array([*errors, seconds]),
    }
    identity.write_npz(net_path(folder, **task.key), arrays, dataclasses.asdict(task))
    return (
        f"{task.product}, {task.paths} paths, {METHOD_NAMES[task.method]}: "
        f"price RMSE {errors[0]:.2g}, delta {errors[1]:.2g}"
    )


def net_path(folder: Path, product: str, paths: int, method: str, seed: int) -> Path:
    """Return the path of a net's file."""
    return folder / "nets" / f"{product}-{paths}-{method}-{seed}.npz"


def read_net(
    folder: Path, product: str, paths: int, method: str, seed: int, **recipe: Any
) -> dict[str, np.ndarray]:
    """Return the arrays of a net's file, NET_SHAPES.

    Args:
      folder: folder of the run.
      product: what the net prices.
      paths: from how many paths it has learned.
      method: the net's method.
      seed: seed of paths and weights.
      recipe: the other fields of its `Task`, as far as they are known.

    Raises:
      DamagedError: it is missing, cut short, of another net, or holds something else.
    """
    key: dict[str, Any] = {"product": product, "paths": paths, "method": method, "seed": seed}
    path = net_path(folder, **key)
    return cells.read_arrays(path, key | recipe, NET_SHAPES)


def is_done(folder: Path, task: Task) -> bool:
    """Return whether a net's file is there and whole; one that is damaged is trained again."""
    path = net_path(folder, **task.key)
    return cells.is_whole(path, lambda: read_net(folder, **dataclasses.asdict(task)))


def metrics_row(folder: Path, task: Task) -> dict[str, Any]:
    """Return a finished task's row of metrics.csv."""
    scores = read_net(folder, **dataclasses.asdict(task))["scores"].tolist()
    return task.key | dict(zip(("price_rmse", "delta_rmse", "seconds"), scores, strict=True))
