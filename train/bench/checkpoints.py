"""What checkpoints cost of a run, and how long a killed run takes until its next step.

The model is train.cifar10's small preset. Shares are of one process, taken in turns with steps; a
resume is a process that is started again, beside one that only imports TensorFlow.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import sobolev_tf as st
from train import cifar10
from train.bench import benchmark
from train.lib.run.checkpoints import Checkpoints

SMALL: dict[str, Any] = cifar10.PRESETS["small"]
BATCH, WIDTH, CUTS = SMALL["batch_size"], SMALL["width_multiplier"], cifar10.CUTS[3]
STEPS, NUM_EVALS = SMALL["steps"], SMALL["num_evals"]
MINUTES = cifar10.FLAGS["save_minutes"].default  # it saves by time, and twice an evaluation
POINTS, SMALL_BATCH = 4096, 32
IMPORT = "import tensorflow, keras"
SCRIPT = "-m train.cifar10 --strategy=none --steps=40 --num_evals=1 --save_minutes=0"


def rows(turns: int = 5, calls: int = 3) -> benchmark.Rows:
    """Measure saves over steps, and a resume."""
    model, data = _cifar10()
    step, save = _seconds(model, data, turns, calls)
    saves = 2 * NUM_EVALS + STEPS * step / (60 * MINUTES)
    yield "train.cifar10, small: milliseconds of a step", 1000 * step
    yield "train.cifar10, small: milliseconds of a checkpoint", 1000 * save
    yield (
        f"percent of the run that its {saves:.0f} saves take (bar 2)",
        share(step, STEPS, save, saves),
    )
    yield from _of_fit(turns)
    yield from _resumed()


def share(step: float, steps: float, save: float, saves: float) -> float:
    """Return the percent of a run's time that saves take.

    >>> share(step=0.5, steps=98, save=0.25, saves=4)
    2.0
    """
    return 100 * saves * save / (steps * step + saves * save)


def _seconds(model: Any, data: Any, turns: int, calls: int) -> tuple[float, float]:
    """Median seconds of a step and of a checkpoint, the second from a state that has changed."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), keep=3)

        def save(n):
            for _ in range(n):
                checkpoints.save(model, int(model.optimizer.iterations))

        runs = [benchmark.step_runner(model, data), save]
        step, saved = np.median(benchmark.seconds_in_turns(runs, calls, turns), 0)
        return float(step), float(saved)


def _cifar10() -> tuple[Any, Any]:
    """The split net, compiled, and a batch of noise."""
    keras.utils.set_random_seed(0)
    stages = st.split(st.nets.cifar10(10, WIDTH, 32), at=CUTS)
    model = st.DecoupledModel(
        stages, lambda h, y: st.synthetic.cifar_critic(h, y, channels=round(WIDTH * 128))
    )
    critic_optimizer = keras.optimizers.Adam(1e-4)
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        critic_optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=[BATCH, 32, 32, 3]).astype("float32")
    data = x, rng.integers(0, 10, BATCH)
    model._symbolic_build(data_batch=data)
    critic_optimizer.build([v for c in model.critics for v in c.trainable_variables])
    return model, data


def _of_fit(turns: int) -> benchmark.Rows:
    """`SobolevModel.fit` on a small net: what Keras's ModelCheckpoint adds, saved at each epoch."""
    table = benchmark.styblinski_tang(POINTS, seed=0)
    model = st.SobolevModel(st.nets.mlp(2))
    model.compile("adam")
    with tempfile.TemporaryDirectory() as folder:
        saver = keras.callbacks.ModelCheckpoint(str(Path(folder, "model.keras")))

        def fit(epochs):
            labels = tuple(table.labels)
            model.fit(table.x, labels, batch_size=SMALL_BATCH, epochs=epochs, verbose=0)

        def save(n):
            for _ in range(n):
                saver._save_model(0, None, {})

        saver.set_model(model)
        model.fit(table.x[:32], tuple(label[:32] for label in table.labels), verbose=0)
        epoch, saved = np.median(benchmark.seconds_in_turns([fit, save], 3, turns), 0)
    yield f"fit, 2x256: milliseconds of an epoch of {POINTS // SMALL_BATCH} steps", 1000 * epoch
    yield "fit, 2x256: milliseconds of ModelCheckpoint", 1000 * saved
    yield "fit, 2x256: percent of ModelCheckpoint at each epoch", share(epoch, 1, saved, 1)
    seconds = 98 * saved / 2
    yield (
        "fit, 2x256: seconds between two ModelCheckpoints that take 2 percent",
        seconds + saved / 2,
    )


def _resumed() -> benchmark.Rows:
    """Kill a run after a checkpoint, start it again, and time it until its next one."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*SCRIPT.split(), f"--workdir={folder}/run"]
        reached = Path(folder, "run", "checkpoints", "step-{:010d}.npz")
        first = _until(command, Path(str(reached).format(2)))
        again = _until(command, Path(str(reached).format(4)))
        alone = _until(["-c", IMPORT], None)
    names = "seconds", "processor seconds"
    for name, of_first, of_again, of_import in zip(names, first, again, alone, strict=True):
        yield f"train.cifar10, small: {name} of importing TensorFlow", of_import
        yield f"train.cifar10, small, started: {name} to step 2 beyond that", of_first - of_import
        bar = " (bar 10)" if name == "seconds" else ""
        text = f"train.cifar10, small, resumed: {name} to the next steps beyond that{bar}"
        yield text, of_again - of_import


def _until(command: list[str], path: Path | None) -> tuple[float, float]:
    """Seconds and processor seconds of a Python process until it ends, or a file is there."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    ended = 0
    while not ended:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if not ended and path is not None and path.exists():
            process.send_signal(signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
            break
        time.sleep(0.01)
    process.returncode = status
    if ended and status:
        raise RuntimeError(f"{' '.join(command)} failed: run it by hand")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime
