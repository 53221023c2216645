"""A training step on several workers as events: computing, and all-reduces over one network.

A task runs on a worker or on the network, each of which does one at a time. Workers of one machine
share its cores; a worker of another machine has its own.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

NETWORK = "network"


class Task(NamedTuple):
    """A piece of a step.

    Attributes:
      name: unique.
      place: "network", or a worker.
      seconds: of the task where it has a core, or the network, for itself.
      needs: names of tasks that end before it begins.
    """

    name: str
    place: str
    seconds: float
    needs: tuple[str, ...] = ()


def ends(tasks: Sequence[Task], cores: float) -> dict[str, float]:
    """Return when each task ends; of the ready tasks at a place, the first in the list runs.

    >>> tasks = [Task("a", "0", 2.0), Task("b", "1", 2.0), Task("sum", NETWORK, 1.0, ("a", "b"))]
    >>> ends(tasks, cores=2), ends(tasks, cores=1)["sum"]
    ({'a': 2.0, 'b': 2.0, 'sum': 3.0}, 5.0)
    """
    left = {task.name: task.seconds for task in tasks}
    ended: dict[str, float] = {}
    now = 0.0
    while len(ended) < len(tasks):
        running: dict[str, str] = {}
        for task in tasks:
            if task.name not in ended and all(name in ended for name in task.needs):
                running.setdefault(task.place, task.name)
        if not running:
            raise ValueError("tasks wait for each other, or for one that is not there")
        speed = min(1.0, cores / max(1, len(running.keys() - {NETWORK})))
        speeds = {name: 1.0 if at == NETWORK else speed for at, name in running.items()}
        passed = min(left[name] / speeds[name] for name in speeds)
        now += passed
        for name, rate in speeds.items():
            left[name] -= rate * passed
            if left[name] <= 1e-12 * now:
                ended[name] = now
    return ended


def step(
    workers: int,
    parts: Sequence[float],
    reduces: Mapping[int, float],
    cores: float | None = None,
    overlap: bool = True,
) -> float:
    """Return the seconds of a synchronous step.

    Args:
      workers: how many.
      parts: seconds of what a worker computes one after another, such as the forward pass, then
        each layer's backward pass from the top.
      reduces: {number of a part: seconds of the all-reduce of the gradients that are ready after
        it}. TensorFlow joins the gradients of one `optimizer.apply` into one tensor.
      cores: of the machine that all workers are on; None: each has its own.
      overlap: whether workers compute while the network reduces.
    """
    tasks = []
    for worker in map(str, range(workers)):
        for k, seconds in enumerate(parts):
            before = (f"{worker}/{k - 1}",) if k else ()
            if not overlap and k - 1 in reduces:
                before = (f"sum/{k - 1}",)
            tasks.append(Task(f"{worker}/{k}", worker, seconds, before))
    for k, seconds in reduces.items():
        ready = tuple(f"{worker}/{k}" for worker in range(workers))
        tasks.append(Task(f"sum/{k}", NETWORK, seconds, ready))
    return max(ends(tasks, workers if cores is None else cores).values())
