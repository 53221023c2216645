"""The nets of an experiment's table: one task each; missing ones are trained, several at a time."""

import functools
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from absl import flags

from train.lib.run import identity, metrics_csv, processes, progress, run_folder, schema
from train.lib.run.errors import DamagedError, UsageError, reading
from train.lib.run.settings import Settings

Task = TypeVar("Task")
TaskTaken = TypeVar("TaskTaken", contravariant=True)
LARGEST_SEED = 2**32 - 1
# Of `cli.common_flags`, in scripts that train many small nets.
UNUSED_FLAGS = ("epochs", "jit_compile", "strategy", "devices", "deterministic", "tensorboard")
FLAGS_THAT_MAY_CHANGE = ("num_workers", "num_seeds")  # when a run is resumed


class Recipes(Protocol[TaskTaken]):
    """A script's module of functions of a run's folder and a task."""

    def is_done(self, folder: Path, task: TaskTaken) -> bool:
        """Return whether the task's files are there and whole."""

    def train_and_save(self, folder: Path, task: TaskTaken) -> str:
        """Write the task's files; return a line of progress. Any process may do it."""

    def metrics_row(self, folder: Path, task: TaskTaken) -> dict[str, Any]:
        """Return a finished task's row of metrics.csv."""


def train_missing(
    run: run_folder.Run,
    tasks: Sequence[Task],
    recipes: Recipes[Task],
    num_workers: int,
    effort: Callable[[Task], int] = lambda task: 1,
) -> list[dict[str, Any]]:
    """Train the nets that have no file yet; metrics.csv grows with each of them.

    Args:
      run: the open run.
      tasks: all nets of the run; the largest should come first.
      recipes: how a net is trained and read.
      num_workers: how many nets at a time; 0: one by one, in this process.
      effort: a number roughly proportional to the time that a task takes.

    Returns:
      The rows of metrics.csv, in the order of the tasks.

    Raises:
      UsageError: a folder stands where a net's file is to be written.
    """
    nets, metrics = run.path("nets"), run.path("metrics.csv")
    run_folder.check_places(nets, [path.name for path in nets.glob("*.npz")])
    missing = [task for task in tasks if not recipes.is_done(run.folder, task)]
    if len(missing) < len(tasks):
        print(f"{run.folder}: {len(tasks) - len(missing)} of {len(tasks)} nets are done")
    rows = {task: recipes.metrics_row(run.folder, task) for task in set(tasks) - set(missing)}
    bar = progress.Bar(sum(map(effort, missing)))
    work = functools.partial(recipes.train_and_save, run.folder)
    for task, text in processes.run(work, missing, num_workers):
        rows[task] = recipes.metrics_row(run.folder, task)
        metrics_csv.write(metrics, [rows[task] for task in tasks if task in rows])
        bar.add(effort(task), text)
    ordered = [rows[task] for task in tasks]
    metrics_csv.write(metrics, ordered)
    return ordered


def is_whole(path: Path, read: Callable[[], Any]) -> bool:
    """Return whether a net's file is there and whole; one that is damaged is trained again.

    Args:
      path: the file.
      read: reads it; the DamagedError that it raises is printed as a line.
    """
    if not path.exists():
        return False
    try:
        read()
    except DamagedError as error:
        print(error, file=sys.stderr)
        return False
    return True


def read_arrays(
    path: Path, of: Mapping[str, Any], shapes: Mapping[str, list[int]]
) -> dict[str, np.ndarray]:
    """Return the arrays of a net's file.

    Args:
      path: the file, of `identity.write_npz`.
      of: what the net is of, as far as it is known.
      shapes: {name of an array: its shape}.

    Raises:
      DamagedError: it is missing, cut short, of another net, or holds something else.
    """
    with reading(path, "its command trains it again", "cannot be read"):
        arrays = identity.read_npz(path, of)
        schema.check_arrays(arrays, shapes)
    return arrays


def median_and_range(numbers: Sequence[float]) -> list[float]:
    """Return [median, lowest, highest] of a measure's values over the seeds."""
    return [statistics.median(numbers), min(numbers), max(numbers)]


def define_flags(values: flags.FlagValues, num_seeds: int, fewest_seeds: int = 1) -> None:
    """Define --num_seeds, with its default and the fewest that there may be, and --num_workers."""
    text = "Number of seeds, from --seed on."
    flags.DEFINE_integer("num_seeds", num_seeds, text, fewest_seeds, flag_values=values)
    define_num_workers(values)


def define_num_workers(values: flags.FlagValues) -> None:
    """Define --num_workers."""
    flags.DEFINE_integer(
        "num_workers",
        os.cpu_count(),
        "Number of nets to train at a time, on one core each; 0: one by one, in this process.",
        lower_bound=0,
        flag_values=values,
    )


def seeds(settings: Settings) -> range:
    """Return the seeds of --seed and --num_seeds.

    Raises:
      UsageError: for seeds that are too large.
    """
    end = settings.seed + settings.num_seeds
    if end - 1 > LARGEST_SEED:
        raise UsageError(
            f"--seed={settings.seed} --num_seeds={settings.num_seeds}: the last seed is {end - 1}, "
            f"expected at most {LARGEST_SEED}"
        )
    return range(settings.seed, end)
