"""Tasks in several processes of one thread each.

Small nets leave most of a core idle waiting for each other's threads; one net a core does not.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import tensorflow as tf

from train.lib.run.endings import ending
from train.lib.run.errors import CommandError, UsageError

Task = TypeVar("Task")
_in_work: MutableSequence[int] = []  # a worker's, set by `_prepare`
THREADS_OF_NUMPY = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run(
    work: Callable[[Task], Any], tasks: Iterable[Task], processes: int
) -> Iterator[tuple[Task, Any]]:
    """Yield (task, work(task)) as they end. Workers end with this process, however it ends.

    Args:
      work: a function at a module's top level.
      tasks: what to call it with; the largest should come first.
      processes: how many tasks at a time; 0 does all of them in this process, in order.

    Raises:
      CommandError: that of `work`, or if a worker has died or raised something else; names the
        task, or for a death all those that were being worked on.
    """
    tasks = list(tasks)
    if processes == 0 or not tasks:
        with _silent_tracing():
            yield from ((task, _named(work, task)) for task in tasks)
        return
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    # Shared, and without a lock, which a worker might hold as it dies.
    in_work = context.RawArray("b", len(tasks))
    executor = ProcessPoolExecutor(
        min(processes, len(tasks)), context, initializer=_prepare, initargs=(in_work,)
    )
    try:
        with _one_thread():  # workers start as tasks are submitted
            submitted = {
                executor.submit(_call, work, number, task): task
                for number, task in enumerate(tasks)
            }
        for future in as_completed(submitted):
            yield submitted[future], future.result()
    except BrokenProcessPool as error:
        begun = [str(task) for task, begun in zip(tasks, in_work, strict=True) if begun]
        during = f"; being worked on: {'; '.join(begun)}" if begun else ""
        raise CommandError(f"a worker process died: see above, or out of memory{during}") from error
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Start processes with one thread for NumPy, which reads this as it is imported."""
    before = {name: os.environ.get(name) for name in THREADS_OF_NUMPY}
    os.environ.update(dict.fromkeys(THREADS_OF_NUMPY, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _prepare(in_work: MutableSequence[int]) -> None:
    """Set up a worker, which marks in `in_work` the tasks that it has begun and not ended."""
    global _in_work
    _in_work = in_work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tf.get_logger().setLevel("ERROR")  # as in `_silent_tracing`
    tf.config.optimizer.set_experimental_options({"remapping": False})  # warns of float64, in vain
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


@contextlib.contextmanager
def _silent_tracing() -> Iterator[None]:
    """Let TensorFlow not remark that every task's net is traced anew."""
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)  # in the middle of its task, which the same command does again


def _named(work: Callable[[Task], Any], task: Task) -> Any:
    """Do a task; an error that has one line names the task there."""
    try:
        return work(task)
    except BrokenPipeError:
        raise
    except Exception as error:
        known = (error, error.code) if isinstance(error, CommandError) else ending(error)
        if known is None:
            raise
        message, code = known
        named = (UsageError if code == UsageError.code else CommandError)(f"{task}: {message}")
        named.code = code
        raise named from error


def _call(work: Callable[[Task], Any], number: int, task: Task) -> Any:
    """Do a task; print the traceback of a bug here, and let it end in one line there."""
    _in_work[number] = 1
    try:
        return _named(work, task)
    except CommandError:
        raise
    except Exception as error:
        if known := ending(error):
            raise CommandError(known[0]) from None
        traceback.print_exc()
        raise CommandError(f"{task}: {type(error).__name__}: {error}") from None
    finally:
        _in_work[number] = 0
