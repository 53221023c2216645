"""Tasks side by side in processes of one thread each.

Small nets leave most of a core idle waiting for each other's threads; one net a core does not.
"""

import collections
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback

from train.lib.run.errors import CommandError


def run(work, tasks, processes):
    """Yields (task, work(task)) as they end. With 0 processes all is done in this one, in order.

    work: a function at a module's top level. The largest task should come first.

    A CommandError in a worker is raised here. Workers end with this process, however it ends.
    """
    tasks = collections.deque(tasks)
    if processes == 0:
        yield from ((task, work(task)) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    busy, started = {}, []
    try:
        with _one_thread():
            for _ in range(min(processes, len(tasks))):
                here, there = context.Pipe()
                started.append(context.Process(target=_serve, args=(work, there), daemon=True))
                started[-1].start()
                there.close()  # so that each end sees the other's death
                busy[here] = tasks.popleft()
                here.send(busy[here])
        while busy:
            for pipe in multiprocessing.connection.wait(list(busy)):
                try:
                    result, error = pipe.recv()
                except EOFError:
                    text = f"the process of {busy[pipe]} died: see above, or out of memory"
                    raise CommandError(text) from None
                if error:
                    raise error
                task = busy.pop(pipe)
                if tasks:
                    busy[pipe] = tasks.popleft()
                    pipe.send(busy[pipe])
                yield task, result
    finally:
        for process in started:
            process.terminate()


@contextlib.contextmanager
def _one_thread():
    """Processes started in here have one thread for NumPy, which reads this as it is imported."""
    ours = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    os.environ.update(dict.fromkeys(ours, "1"))
    try:
        yield
    finally:
        for name, value in ours.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(work, pipe):
    """A worker: answers tasks until the other end of the pipe is closed, or its parent is dead."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # every net is traced anew, and TensorFlow would remark on it
    tf.config.optimizer.set_experimental_options({"remapping": False})  # warns of float64, in vain
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((work(task), None))
        except CommandError as error:
            pipe.send((None, error))
        except Exception as error:
            traceback.print_exc()
            pipe.send((None, CommandError(f"{task}: {type(error).__name__}: {error}")))


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)  # in the middle of its task, which the same command does again
