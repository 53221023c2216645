"""Workers that take each step together (--strategy=multi_worker): who they are, what they exchange.

All run the same command with a TF_CONFIG of their own. What one of them knows, such as its clock,
a signal or a file, the others have to be told before they act on it: each exchange is one sum over
all workers, in which they must all take part, in the same order.

Every function takes the model's strategy; under any other one, this process is the only worker.
"""

import atexit
import contextlib
import hashlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import tensorflow as tf

from train.lib.run import files, rendezvous, tf_config
from train.lib.run.errors import CommandError, UsageError, last_line

WAIT = 300  # seconds for the other workers to come
STARTED_BY = "TRAIN_CLUSTER"  # in the environment of workers that train.cluster has started
WORDS = 2**23  # of 8 bytes, that are exchanged at a time
Copies = Mapping[str, Sequence[np.ndarray]]  # {variable: its value at each replica}
_joined: list[tf.distribute.MultiWorkerMirroredStrategy] = []


def join() -> tf.distribute.MultiWorkerMirroredStrategy:
    """Meet the other workers of TF_CONFIG, and return the strategy; the same one when called again.

    TensorFlow wants it to be made before anything else runs.

    Raises:
      UsageError: for a TF_CONFIG that is missing or invalid, a port that is taken, and, after
        WAIT seconds, for a worker that has not come.
      CommandError: where TensorFlow's server does not start.
    """
    if not _joined:
        rendezvous.meet(*_workers(), WAIT)
        try:
            _joined.append(tf.distribute.MultiWorkerMirroredStrategy())
        except (tf.errors.OpError, RuntimeError) as error:
            raise CommandError(f"the workers cannot connect: {last_line(error)}") from error
        # TensorFlow has put a handler there that only takes a note.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        atexit.register(os._exit, 1)  # after a bug; else `leave` comes first
    return _joined[0]


def leave(code: int) -> NoReturn:
    """Exit; at once if workers have met, since TensorFlow's server does not stop by itself."""
    if _joined:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _workers() -> tf_config.Workers:
    text = os.environ.get("TF_CONFIG", "")
    try:
        return tf_config.workers(text)
    except ValueError as error:
        raise UsageError(
            "--strategy=multi_worker: expected TF_CONFIG with addresses of worker and a task, "
            f"{text or 'nothing'} is given ({error}); python -m train.cluster starts all on this "
            "machine"
        ) from error


def are_several(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this process is one of several workers."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def place(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """Return (this worker's number, of how many); the chief is number 0."""
    if not are_several(strategy):
        return 0, 1
    workers = _workers()
    return workers.rank, len(workers.addresses)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this worker is the one that writes the run folder."""
    return place(strategy)[0] == 0


@contextlib.contextmanager
def output(strategy: tf.distribute.Strategy, folder: Path) -> Iterator[Path]:
    """Give the folder to write into: the chief's run folder, a temporary one to all others.

    The others do all that the chief does, since TensorFlow may exchange values at any point, but
    what they print and write goes nowhere. At the end all wait for each other.

    Raises:
      CommandError: where another worker is gone.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_lost_worker_named())
        if not is_chief(strategy):
            workers = _workers()
            print(
                f"{workers.names[workers.rank]} of {len(workers.names)}; {workers.names[0]} "
                f"({workers.addresses[0]}) prints and writes the run folder",
                flush=True,
            )
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        yield folder
        any_of(strategy, [False])


@contextlib.contextmanager
def _lost_worker_named() -> Iterator[None]:
    """Turn what TensorFlow raises when a worker is gone into one line that names it."""
    try:
        yield
    except tf.errors.OpError as error:
        if not is_of_lost_worker(error):
            raise
        if os.environ.get(STARTED_BY) and _workers().rank == 0:
            raise CommandError("") from error  # who has started it says who has died, and how
        name = lost_worker(error.message) or "another worker"
        raise CommandError(
            f"{name} is gone: see what it says; start all workers again, and the same command "
            "resumes from the last checkpoint"
        ) from error


def is_of_lost_worker(error: tf.errors.OpError) -> bool:
    """Return whether TensorFlow has raised an error because another worker is gone."""
    kinds = tf.errors.UnavailableError | tf.errors.AbortedError
    return isinstance(error, kinds) or "Collective ops is aborted" in error.message


def lost_worker(message: str) -> str | None:
    """Return the name of the worker that an error of TensorFlow is about.

    >>> lost_worker("tasks are unhealthy:\\n/job:worker/replica:0/task:1\\nThe tasks")
    'worker 1'
    """
    task = r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)"
    for before in (r"unhealthy[^/]*", r"(?:from|target) "):
        if match := re.search(before + task, message):
            return f"{match[1]} {match[2]}"
    return None


def any_of(strategy: tf.distribute.Strategy, flags: Iterable[bool]) -> list[bool]:
    """Return for each flag whether it is true at any worker."""
    here = np.array([bool(flag) for flag in flags], np.int64)
    return [bool(total) for total in _sum(strategy, here)]


def gather(strategy: tf.distribute.Strategy, array: np.ndarray) -> np.ndarray:
    """Return the arrays [W, ...] of all W workers, bit for bit; shapes and types are the same."""
    rank, count = place(strategy)
    rows = np.zeros([count, -(-array.nbytes // 8)], np.int64)
    rows[rank] = _words(array.tobytes())
    bytes_ = _sum(strategy, rows.ravel()).reshape(rows.shape).view(np.uint8)
    content = np.ascontiguousarray(bytes_[:, : array.nbytes])
    return np.frombuffer(content.tobytes(), array.dtype).reshape([count, *array.shape])


def from_chief(strategy: tf.distribute.Strategy, content: bytes) -> bytes:
    """Return the chief's `content` at every worker."""
    size = int(gather(strategy, np.array(len(content)))[0])
    here = is_chief(strategy)
    words = _words(content) if here else np.zeros(-(-size // 8), np.int64)
    return _sum(strategy, words).tobytes()[:size]


def copy_files(strategy: tf.distribute.Strategy, paths: Iterable[Path]) -> None:
    """Write the chief's files at all other workers, each at its own path, where it has them."""
    for path in paths:
        there = is_chief(strategy) and path.exists()
        content = path.read_bytes() if there else b""
        [there] = any_of(strategy, [there])
        content = from_chief(strategy, content)
        if there and not is_chief(strategy):
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(path) as file:
                file.write(content)


def everywhere(strategy: tf.distribute.Strategy, here: Copies) -> dict[str, list[np.ndarray]]:
    """Return the values at all replicas of all workers.

    Only those that differ are sent: weights are the same everywhere, statistics are not.

    Args:
      strategy: the model's.
      here: the values at this worker's replicas.
    """
    if not are_several(strategy):
        return {name: list(arrays) for name, arrays in here.items()}
    digests = gather(strategy, np.array([_digest(arrays) for arrays in here.values()], np.int64))
    all_copies = {}
    for (name, arrays), same in zip(here.items(), (digests == digests[0]).all(0), strict=True):
        copies = arrays if same else np.concatenate(gather(strategy, np.stack(arrays)))
        all_copies[name] = list(copies)
    return all_copies


def _digest(arrays: Sequence[np.ndarray]) -> int:
    total = hashlib.sha256()
    for array in arrays:
        total.update(array.tobytes())
    return int.from_bytes(total.digest()[:8], "little", signed=True)


def _words(content: bytes) -> np.ndarray:
    return np.frombuffer(content + bytes(-len(content) % 8), np.int64)


def _sum(strategy: tf.distribute.Strategy, words: np.ndarray) -> np.ndarray:
    """Add up whole numbers [N] over the workers."""
    if not are_several(strategy):
        return words
    parts = [words[i : i + WORDS] for i in range(0, len(words), WORDS)]
    sums = [strategy.reduce("SUM", tf.constant(part), axis=None).numpy() for part in parts]
    return np.concatenate(sums) if sums else words
