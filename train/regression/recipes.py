"""How nets are built and trained by each preset, and how their errors are measured.

`modern` is what the library recommends for small data; it was chosen on other functions than the
seven (train/results/regression_modern). `paper` is section 4.1's; steps and batch size are not in
the paper.
"""

import dataclasses
import hashlib
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import sobolev_tf as st
from train.lib.run import cells, identity, schedule
from train.regression import functions

PRESETS = {
    "modern": {"hidden": ["64", "64"], "steps": 100},
    "paper": {"hidden": ["256", "256"], "steps": 50_000, "batch_size": 100},
    "surrogate": {"hidden": ["64", "64"], "steps": 100},  # of the net that it may choose
}
NUM_LABELS = {"values": 1, "sobolev": 2}  # y, or y and dy
METHOD_NAMES = {"values": "values only", "sobolev": "Sobolev"}  # as people read them
TEST_POINTS, TEST_SEED = 10_000, 10**9
FIRST_ROWS = 200  # points of large data that Gauss-Newton sees; see `modern`
STEPS_PER_EXECUTION = 100  # at most
GRID_SIDE = 41  # points along each axis of the grid that figures are drawn from
# What a net's file holds: its jet on the grid; test MSE, gradient MSE and seconds.
NET_SHAPES = {"value": [GRID_SIDE] * 2, "gradient": [GRID_SIDE, GRID_SIDE, 2], "scores": [3]}


@dataclasses.dataclass(frozen=True)
class Task:
    """One net to train, as plain data: any process can do it."""

    function: str
    domain: tuple[str, ...] | None
    size: int
    method: str
    seed: int
    preset: str
    hidden: tuple[int, ...]
    steps: int
    batch_size: int | None

    @property
    def key(self) -> dict[str, Any]:
        """What tells this net from the other nets of a run."""
        return {name: getattr(self, name) for name in ("function", "size", "method", "seed")}


def modern(
    x: np.ndarray,
    labels: Sequence[np.ndarray],
    hidden: Sequence[int],
    steps: int,
    folds: int = 0,
) -> st.SobolevModel:
    """Train a SiLU net in float64 on z-scores by Gauss-Newton; errors are divided by label sizes.

    The evidence chooses the regularization: none where the net resolves the function, much where
    waves between the points are noise to it. Of large data, the first rows (a random part) lead
    most of the way, and L-BFGS continues with all rows.
    """
    model = st.SobolevModel(
        st.nets.mlp(x.shape[1], hidden=hidden, activation="silu", dtype="float64")
    )
    model.compile(component_weights="rms")
    model.adapt(x, labels)
    first = [rows[:FIRST_ROWS] for rows in (x, *labels)]
    rounds = max(len(first[0]) // 100, 1)  # more points need more iterations
    st.fit_least_squares(
        model,
        first[0],
        first[1:],
        iterations=rounds * steps,
        regularization="evidence",
        folds=folds,
        verbose=0,
    )
    if len(x) > FIRST_ROWS:
        st.fit_lbfgs(model, x, labels, iterations=steps, verbose=0)
    return model


def paper(
    x: np.ndarray,
    labels: Sequence[np.ndarray],
    hidden: Sequence[int],
    steps: int,
    batch_size: int,
) -> st.SobolevModel:
    """Train section 4.1's ReLU net by Adam at 3e-5 on the plain sum of squared norms."""
    model = st.SobolevModel(st.nets.mlp(2, hidden=hidden))
    model.compile(
        keras.optimizers.Adam(3e-5),
        steps_per_execution=schedule.largest_divisor(steps, STEPS_PER_EXECUTION),
    )
    points = st.targets.Table(*(rows.astype("float32") for rows in (x, *labels)))
    model.fit(points.dataset(min(batch_size, len(x))), steps_per_epoch=steps, verbose=0)
    return model


def train(function: functions.Function, task: Task) -> st.SobolevModel:
    """Train the model of a task on values, or on values and gradients."""
    keras.utils.set_random_seed(task.seed)
    points = functions.labeled_points(function, task.size, seed=(task.seed, task.size))
    labels = points.labels[: NUM_LABELS[task.method]]
    if task.preset == "modern":
        return modern(points.x, labels, task.hidden, task.steps)
    if task.preset == "surrogate":
        return st.fit_surrogate(points.x, tuple(labels), seed=task.seed, verbose=0)
    return paper(points.x, labels, task.hidden, task.steps, task.batch_size or len(points.x))


def test_points(function: functions.Function) -> st.targets.Table:
    """Return the same 10,000 labeled points for every net of a function."""
    return functions.labeled_points(function, TEST_POINTS, seed=(TEST_SEED,))


def mean_squared_errors(model: st.SobolevModel, points: st.targets.Table) -> tuple[float, float]:
    """Return the mean squared error of the value, and of the gradient (its squared norm)."""
    jet = model.predict_jet(points.x, batch_size=2048)
    value, gradient = (
        np.mean(np.sum(np.reshape(predicted - label, [len(label), -1]) ** 2, 1))
        for predicted, label in zip((jet.value, *jet.derivatives), points.labels, strict=False)
    )
    return float(value), float(gradient)


def train_and_save(folder: Path, task: Task) -> str:
    """Train the net of a task and write its errors, and its jet on a grid, to its file.

    Returns:
      A line of progress for people.
    """
    began = time.perf_counter()
    function = functions.resolve(task.function, task.domain)
    model = train(function, task)
    seconds = time.perf_counter() - began
    test_mse, gradient_mse = mean_squared_errors(model, test_points(function))
    grid = functions.grid(function.domain, GRID_SIDE)
    jet = model.predict_jet(grid, batch_size=len(grid))
    arrays = {
        "value": np.reshape(jet.value, NET_SHAPES["value"]).astype("f4"),
        "gradient": np.reshape(jet.derivatives[0], NET_SHAPES["gradient"]).astype("f4"),
        "scores": np.array([test_mse, gradient_mse, seconds]),
    }
    identity.write_npz(net_path(folder, **task.key), arrays, dataclasses.asdict(task))
    method = METHOD_NAMES[task.method]
    return f"{task.function}, {task.size} points, {method}: test MSE {test_mse:.3g}"


def net_path(folder: Path, function: str, size: int, method: str, seed: int) -> Path:
    """Return the path of a net's file."""
    return folder / "nets" / f"{file_name(function)}-{size}-{method}-{seed}.npz"


def file_name(function: str) -> str:
    """Return a function's name as part of a file's name."""
    letters = re.sub(r"\W+", "_", function)
    if letters == function and len(function) <= 40:
        return function
    return f"{letters[:40]}-{hashlib.sha256(function.encode()).hexdigest()[:8]}"


def read_net(
    folder: Path, function: str, size: int, method: str, seed: int, **recipe: Any
) -> dict[str, np.ndarray]:
    """Return the arrays of a net's file, NET_SHAPES.

    Args:
      folder: folder of the run.
      function: what the net has learned.
      size: from how many points.
      method: the net's method.
      seed: seed of points and weights.
      recipe: the other fields of its `Task`, as far as they are known.

    Raises:
      DamagedError: where it is missing, cut short, of another net, or holds something else.
    """
    key: dict[str, Any] = {"function": function, "size": size, "method": method, "seed": seed}
    path = net_path(folder, **key)
    return cells.read_arrays(path, key | recipe, NET_SHAPES)


def is_done(folder: Path, task: Task) -> bool:
    """Return whether a net's file is there and whole; one that is damaged is trained again."""
    path = net_path(folder, **task.key)
    return cells.is_whole(path, lambda: read_net(folder, **dataclasses.asdict(task)))


def metrics_row(folder: Path, task: Task) -> dict[str, Any]:
    """Return a finished task's row of metrics.csv."""
    scores = read_net(folder, **dataclasses.asdict(task))["scores"].tolist()
    return task.key | dict(zip(("test_mse", "gradient_mse", "seconds"), scores, strict=True))


def effort(task: Task) -> int:
    """Return a number roughly proportional to the time that a task takes."""
    return 10 if task.preset != "paper" and task.size > FIRST_ROWS else 1
