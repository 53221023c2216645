"""`train.pricing`'s basket of 7 from 8,192 paths, beside the same recipe by hand in JAX.

Each net is trained in a process of its own with one thread, on the same paths.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from train.bench import benchmark
from train.lib.run import processes
from train.pricing import nets, products

PROGRAM = Path(__file__).with_name("pricing_by_hand.py")
SETTINGS = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}
MEASURES = ("price RMSE", "delta RMSE", "processor seconds")
BARS = (1.0, 1.0, 1.5)


def rows(paths: int = 8192, steps: int = 1600, seeds: int = 3) -> benchmark.Rows:
    """Yield the medians over the seeds of both, and their ratios."""
    if not importlib.util.find_spec("jax"):
        print('pricing: skipped, jax is not installed (pip install -e ".[bench]")', file=sys.stderr)
        return
    tasks = [
        nets.Task(
            product="basket",
            num_assets=7,
            paths=paths,
            method="sobolev",
            seed=seed,
            hidden=(20,) * 4,
            steps=steps,
            learning_rate=0.1,
        )
        for seed in range(seeds)
    ]
    ours, theirs = [], []
    for task in tasks:  # in turns, since others may use the machine
        ours += [numbers for _, numbers in processes.run(_ours, [task], 1)]
        theirs.append(_theirs(task))
    medians = {"sobolev_tf": np.median(ours, 0), "JAX by hand": np.median(theirs, 0)}
    for learner, numbers in medians.items():
        for measure, number in zip(MEASURES, numbers, strict=True):
            yield f"basket of 7, {paths} paths, {learner}: {measure}", number
    for measure, bar, ratio in zip(
        MEASURES, BARS, medians["sobolev_tf"] / medians["JAX by hand"], strict=True
    ):
        yield f"basket of 7, {paths} paths, {measure} over JAX's (bar {bar})", ratio


def _ours(task: nets.Task) -> list[float]:
    product = products.make(task.product, task.num_assets)
    x, labels = nets.training_paths(product, task)
    began = time.process_time()
    model = nets.train(x, labels, task)
    seconds = time.process_time() - began
    test = product.prices(nets.TEST_POINTS, seed=(nets.TEST_SEED,))
    jet = model.predict_jet(test.x.astype("float32"), batch_size=2048)
    return [*nets.root_mean_squares((jet.value, jet.derivatives[0]), test.labels), seconds]


def _theirs(task: nets.Task) -> list[float]:
    product = products.make(task.product, task.num_assets)
    x, (payoffs, slopes) = nets.training_paths(product, task)
    test = product.prices(nets.TEST_POINTS, seed=(nets.TEST_SEED,))
    arrays: dict[str, Any] = {"x": x, "y": payoffs, "dy": slopes[:, 0]}
    arrays |= {"test": test.x.astype("float32"), "hidden": task.hidden, "steps": task.steps}
    arrays |= {"batch_size": min(nets.batch_size_of(len(x)), len(x)), "seed": task.seed}
    arrays |= {"learning_rate": task.learning_rate}
    with tempfile.TemporaryDirectory() as folder:
        labels, predicted = Path(folder, "labels.npz"), Path(folder, "predicted.npz")
        np.savez(labels, **arrays)
        command = [sys.executable, str(PROGRAM), str(labels), str(predicted)]
        subprocess.run(command, env=os.environ | SETTINGS, check=True, capture_output=True)
        with np.load(predicted) as file:
            errors = nets.root_mean_squares((file["price"], file["delta"]), test.labels)
            return [*errors, float(file["seconds"])]
