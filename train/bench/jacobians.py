"""Training on whole Jacobians: the first step, which traces, and later ones, in processor seconds.

Beside it the same labels given along the axes of the shorter side, and the same step by hand in
JAX, where it is installed, with the Jacobian by `jax.jacfwd` and by `jax.jacrev`.
"""

import importlib.util
import sys
import time
from pathlib import Path

import keras
import numpy as np

import sobolev_tf as st
from train.bench import benchmark
from train.bench.jacobians_by_hand import BATCH, CHANNELS, HIDDEN, SHAPES, WAYS, labels
from train.bench.served import Served

PROGRAM = Path(__file__).with_name("jacobians_by_hand.py")


def rows(turns: int = 20, calls: int = 5, shapes: tuple = tuple(SHAPES)) -> benchmark.Rows:
    """Yield seconds of the first step (ours: the median of three models), and of later ones."""
    ways = ["the Jacobian", "along the axes"]
    if importlib.util.find_spec("jax"):
        ways += [f"JAX by hand, {way}" for way in WAYS]
    else:
        print('JAX: skipped, jax is not installed (pip install -e ".[bench]")', file=sys.stderr)
    _ours("1 -> 1", axes=False)(1)  # what TensorFlow does once in a process
    for shape in shapes:
        tries = [[_ours(shape, axes) for axes in (False, True)] for _ in range(3)]
        first = list(np.median([[run(1) for run in runs] for runs in tries], 0))
        runs = tries[-1]
        for way in WAYS[: len(ways) - 2]:
            runs.append(_theirs(shape, way))
            first.append(runs[-1](0))
        later = np.array([[run(calls) / calls for run in runs] for _ in range(turns)])
        later = np.median(later, 0)
        for way, seconds in zip(ways, first, strict=True):
            yield f"{shape}, {way}: processor seconds of the first step", seconds
        for way, seconds in zip(ways, later, strict=True):
            yield f"{shape}, {way}: processor ms of a later step", 1e3 * seconds
        bar = " (bar 2)" if shape == "3 -> 400" else ""
        yield f"{shape}: first step over the same along the axes{bar}", first[0] / first[1]
        yield f"{shape}: later steps over the same along the axes{bar}", later[0] / later[1]


def _ours(shape, axes):
    """n -> processor seconds of n steps; the first call traces."""
    x, y, dy = labels(shape)
    model = st.SobolevModel(_net(shape), order=0 if axes else 1)
    model.compile("sgd")
    data = (x, _along_axes(x, y, dy) if axes else (y, dy))
    runner: list[benchmark.Loop] = []

    def run(n):
        start = time.process_time()
        if not runner:
            runner.append(benchmark.step_runner(model, data))
        runner[0](n)
        return time.process_time() - start

    return run


def _theirs(shape, way):
    served = Served(str(PROGRAM), shape, way)
    return lambda n: served(n) / 1e9


def _net(shape):
    inputs, outputs = SHAPES[shape]
    if isinstance(inputs, int):
        return st.nets.mlp(inputs, outputs, hidden=HIDDEN, activation="tanh")
    return keras.Sequential(
        [
            keras.Input(inputs),
            keras.layers.Conv2D(CHANNELS, 3, padding="same", activation="tanh"),
            keras.layers.Conv2D(outputs[-1], 3, padding="same"),
        ]
    )


def _along_axes(x, y, dy):
    """The same labels as directional ones: along inputs where there are fewer, or outputs."""
    inputs, outputs = x.shape[1:], y.shape[1:]
    shorter = inputs if np.prod(inputs) <= np.prod(outputs) else outputs
    size = int(np.prod(shorter))
    axes = np.broadcast_to(np.eye(size, dtype="float32"), [BATCH, size, size])
    axes = axes.reshape(BATCH, size, *shorter)
    if shorter is outputs:
        return {"value": y, "vjp": dy.reshape(BATCH, size, *inputs), "directions": axes}
    jvp = np.moveaxis(dy.reshape(BATCH, *outputs, size), -1, 1)
    return {"value": y, "jvp": jvp, "directions": axes}
