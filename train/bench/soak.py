"""What an hour of training adds to memory, threads, open files and files on disk (Linux only).

Four loads run side by side, each in a process of its own: `fit` on arrays and on a data set, called
again and again with a checkpoint after every epoch; train.teacher's actor-critic; and Keras's
`ModelCheckpoint` in place of the scripts' checkpoints, which shows what Keras's own saving adds.
"""

import csv
import functools
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.bench import benchmark
from train.lib.atari import policies
from train.lib.run import files, processes
from train.lib.run.checkpoints import Checkpoints
from train.lib.run.line_labels import label_ends
from train.teacher import a3c
from train.teacher.settings import LearnerSettings

MEGABYTES_AN_HOUR = 10.0  # that the second half may add and still be called flat
SAMPLES = 120
POINTS, BATCH, EPOCHS = 4096, 16, 4
GAME, SECONDS_BETWEEN_SAVES = "breakout", 5.0


class Sample(NamedTuple):
    """What a process holds at one time.

    Attributes:
      seconds: since its start.
      steps: of training.
      megabytes: resident in memory.
      threads: of the process.
      open_files: file handles, sockets and pipes among them.
      files: in its folder for checkpoints and temporary files.
    """

    seconds: float
    steps: int
    megabytes: float
    threads: int
    open_files: int
    files: int


def rows(minutes: float = 60.0, workdir: str | None = None) -> benchmark.Rows:
    """Run all loads, and tell how much each holds and how much its second half has added.

    Args:
      minutes: how long.
      workdir: folder for soak.csv, which grows meanwhile, and soak.png.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(workdir or temporary, "soak.csv")
        path.write_text(",".join(["load", *Sample._fields]) + "\n")
        list(processes.run(soak, [(load, minutes, str(path)) for load in LOADS], len(LOADS)))
        samples = read(path)
    if workdir:
        draw(path.with_suffix(".png"), samples)
    for load, of_load in samples.items():
        yield f"{load}: steps", of_load[-1].steps
        yield f"{load}: megabytes at the end", of_load[-1].megabytes
        added = megabytes_an_hour(of_load)
        yield f"{load}: megabytes an hour, second half (bar {MEGABYTES_AN_HOUR:g})", added
        for field in ("threads", "open_files", "files"):
            name = field.replace("_", " ")
            yield f"{load}: more {name} in the last quarter (bar 0)", more(of_load, field)


def megabytes_an_hour(samples: Sequence[Sample]) -> float:
    """Return the slope of the line of least squares through the second half's memory."""
    half = samples[len(samples) // 2 :]
    hours = [sample.seconds / 3600 for sample in half]
    return float(np.polyfit(hours, [sample.megabytes for sample in half], 1)[0])


def more(samples: Sequence[Sample], field: str) -> int:
    """Return the last quarter's maximum of a field, less the third quarter's."""
    values = [getattr(sample, field) for sample in samples]
    half, last = len(values) // 2, len(values) * 3 // 4
    return max(values[last:]) - max(values[half:last] or values)


def soak(task: tuple[str, float, str]) -> None:
    """Run a load for some minutes and append its samples to a file.

    Args:
      task: name of the load, minutes, path of the file.
    """
    load, minutes, path = task
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder  # TensorFlow's and Python's
        began, due = time.monotonic(), 0.0
        for steps in LOADS[load](Path(folder)):
            seconds = time.monotonic() - began
            if seconds >= due:
                with Path(path).open("a", newline="") as file:  # a line is written whole
                    csv.writer(file, lineterminator="\n").writerow(
                        [load, *sample(seconds, steps, folder)]
                    )
                due += 60 * minutes / SAMPLES
            if seconds >= 60 * minutes:
                break
        tempfile.tempdir = None


def sample(seconds: float, steps: int, folder: str) -> Sample:
    """Return what this process holds now, of Linux's account."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return Sample(
        round(seconds, 1),
        steps,
        round(int(status["VmRSS"].split()[0]) / 1024, 2),
        int(status["Threads"]),
        len(os.listdir("/proc/self/fd")),
        sum(len(names) for _, _, names in os.walk(folder)),
    )


def read(path: Path) -> dict[str, list[Sample]]:
    """Return the samples of each load in a soak.csv."""
    samples: dict[str, list[Sample]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            counts = (int(row[name]) for name in ("threads", "open_files", "files"))
            each = Sample(
                float(row["seconds"]), int(row["steps"]), float(row["megabytes"]), *counts
            )
            samples.setdefault(row["load"], []).append(each)
    return samples


def draw(path: Path, samples: Mapping[str, Sequence[Sample]]) -> None:
    """Draw memory, threads, open files and files of each load over minutes, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.6), layout="constrained")
    panels = ("megabytes", "threads", "open_files", "files")
    for axis, field in zip(figure.subplots(2, 2).flat, panels, strict=True):
        ends = []
        for color, (load, of_load) in zip(itertools.count(), samples.items(), strict=False):
            values = [getattr(each, field) for each in of_load]
            axis.plot([each.seconds / 60 for each in of_load], values, f"C{color}-")
            ends.append((load, values[-1], f"C{color}"))
        axis.set_title(field.replace("_", " "), fontsize="medium")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("minutes")
        axis.spines[["top", "right"]].set_visible(False)
        label_ends(axis, ends)
    files.write_png(path, figure, dpi=80)


# Each of these trains in its folder, and yields its number of steps every few seconds.


def _arrays(folder: Path, keras_saves: bool = False) -> Iterator[int]:
    table = benchmark.styblinski_tang(POINTS, seed=0)
    data = {"x": table.x, "y": tuple(table.labels), "batch_size": BATCH}
    return _fits(folder, keras_saves, **data)


def _data_set(folder: Path) -> Iterator[int]:
    table = benchmark.styblinski_tang(POINTS, seed=0)
    data = tf.data.Dataset.from_tensor_slices((table.x, tuple(table.labels)))
    return _fits(folder, x=data.shuffle(POINTS).batch(BATCH).prefetch(2))


def _fits(folder: Path, keras_saves: bool = False, **data: Any) -> Iterator[int]:
    model = st.SobolevModel(st.nets.mlp(2, hidden=[32, 32]))
    model.compile("adam", metrics=["mae"])
    checkpoints = Checkpoints(folder / "checkpoints", keep=2)

    def save(epoch, logs):
        checkpoints.save(model, int(model.optimizer.iterations))

    callback = keras.callbacks.LambdaCallback(on_epoch_end=save)
    if keras_saves:
        callback = keras.callbacks.ModelCheckpoint(str(folder / "model.keras"))
    while True:
        model.fit(**data, epochs=EPOCHS, verbose=0, callbacks=[callback])
        yield int(model.optimizer.iterations)


def _actor_critic(folder: Path) -> Iterator[int]:
    net, settings = policies.new_teacher(GAME), LearnerSettings(num_envs=4)
    a3c.compile_net(net, settings, num_updates=10**7)
    actors = [a3c.Actor(net, GAME, settings, seed=[0, k]) for k in range(settings.num_actors)]
    checkpoints = Checkpoints(folder / "checkpoints", keep=2)
    while True:
        due = time.monotonic() + SECONDS_BETWEEN_SAVES

        def stop(due=due):
            return time.monotonic() >= due

        a3c.run(actors, stop, report=lambda: None)
        steps = int(net.optimizer.iterations)
        checkpoints.save(net, steps)
        yield steps


LOADS: dict[str, Callable[[Path], Iterator[int]]] = {
    "arrays": _arrays,
    "data set": _data_set,
    "actor-critic": _actor_critic,
    "arrays, saved by Keras": functools.partial(_arrays, keras_saves=True),
}
