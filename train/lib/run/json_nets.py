"""Nets whose results are numbers: each has a small JSON file in the run's folder `nets`."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from train.lib.run import cells, files, identity, run_folder, schema
from train.lib.run.errors import reading

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class JsonNets:
    """How such nets are trained and read; tasks are NamedTuples.

    Args:
      train: trains the net of a task, and returns its results. Any process may call it.
      kinds: {name of a result: its type}.
      metrics: returns the row of metrics.csv of a task's fields and results; raises ValueError
        for results that the task cannot have.
    """

    train: Callable[[Any], Row]
    kinds: Mapping[str, schema.Kind]
    metrics: Callable[[Row], Row]

    def train_missing(self, run: run_folder.Run, tasks: Sequence[Any], num_workers: int) -> list:
        """Train the nets that have no file yet.

        Args:
          run: the open run.
          tasks: all nets of the run.
          num_workers: how many nets at a time; 0: one by one, in this process.

        Returns:
          Fields, results and seconds of each task.

        Raises:
          UsageError: a folder stands where a net's file is to be written.
        """
        nets = run.path("nets")
        nets.mkdir(exist_ok=True)
        files.remove_leftovers(nets)
        run_folder.check_places(nets, [net_path(run.folder, task).name for task in tasks])
        cells.train_missing(run, tasks, self, num_workers)
        return [self.read(run.folder, task) for task in tasks]

    def is_done(self, folder: Path, task: Any) -> bool:
        """Return whether a net's file is there and whole; one that is damaged is trained again."""
        return cells.is_whole(net_path(folder, task), lambda: self.read(folder, task))

    def train_and_save(self, folder: Path, task: Any) -> str:
        """Train the net of a task and write its file; return a line of progress."""
        began = time.perf_counter()
        row = {**task._asdict(), **self.train(task), "seconds": time.perf_counter() - began}
        files.write_json(net_path(folder, task), row)
        return ", ".join(f"{name} {value}" for name, value in self.metrics(row).items())

    def metrics_row(self, folder: Path, task: Any) -> Row:
        """Return a finished task's row of metrics.csv."""
        return self.metrics(self.read(folder, task))

    def read(self, folder: Path, task: Any) -> Row:
        """Return fields, results and seconds of a task.

        Raises:
          DamagedError: its file is missing, cut short, of another task, or holds something else.
        """
        path = net_path(folder, task)
        with reading(path, "its command trains it again", "cannot be read"):
            row = files.read_json(path)
            schema.check(row, {**self.kinds, "seconds": schema.NUMBER})
            identity.check(row, task._asdict())
            row |= task._asdict()
            self.metrics(row)  # for what it raises
        return row


def net_path(folder: Path, task: Any) -> Path:
    """Return the path of the file of a task's net."""
    return folder / "nets" / f"{'-'.join(map(str, task))}.json"
