"""TensorFlow servers: a small cluster on this machine, and waiting for one to answer.

    with tf_servers.local(worker=2, ps=1) as cluster:     # {"worker": ["127.0.0.1:...", ...], ...}
        tf_servers.wait(cluster, seconds=60)

A local server is a process of its own and ends with this one, however it ends.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf

from train.lib.run.errors import UsageError

Cluster = Mapping[str, Sequence[str]]  # {job: addresses}


@contextlib.contextmanager
def local(pin: bool = False, **tasks: int) -> Iterator[Cluster]:
    """Start servers on this machine, and stop them at the end of the block.

    Args:
      pin: give each one thread and one core: the first server the first core, and so on.
      **tasks: how many servers of each job, such as `ps=1, worker=2`.

    Returns:
      {job: addresses}, before the servers answer: see `wait`.
    """
    addresses = iter(free_addresses(sum(tasks.values())))
    cluster = {job: [next(addresses) for _ in range(count)] for job, count in tasks.items()}
    started: list[subprocess.Popen] = []
    cores = os.cpu_count() or 1
    try:
        for job, count in tasks.items():
            for index in range(count):
                core = len(started) % cores if pin else None
                started.append(start(cluster, job, index, core))
        yield cluster
    finally:
        for process in started:
            if process.stdin:
                process.stdin.close()
        for process in started:
            process.wait()


def start(cluster: Cluster, job: str, index: int, core: int | None = None) -> subprocess.Popen:
    """Start the process of one server, with a single thread on `core` if there is one.

    It ends when its stdin does.
    """
    command = [sys.executable, "-m", "train.lib.run.tf_servers"]
    if core is not None:
        command.append(str(core))
    config = {"cluster": cluster, "task": {"type": job, "index": index}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": "-1"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the process that started it
    )


def wait(cluster: Cluster, seconds: float) -> None:
    """Wait until every address answers. Raises UsageError, naming the first that does not."""
    end = time.monotonic() + seconds
    for job, addresses in cluster.items():
        for index, address in enumerate(addresses):
            while not _answers(address):
                if time.monotonic() > end:
                    raise UsageError(
                        f"no TensorFlow server answers at {address} ({job} {index} of TF_CONFIG) "
                        f"after {seconds:g} s: start it there, or correct the address"
                    )
                time.sleep(0.2)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def free_addresses(count: int) -> list[str]:
    """Return addresses of this machine at which nobody listens."""
    sockets = [socket.socket() for _ in range(count)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{opened.getsockname()[1]}" for opened in sockets]
    for opened in sockets:
        opened.close()
    return addresses


def serve(threads: int = 0) -> tf.distribute.Server:
    """Start the server of TF_CONFIG's task in this process; 0 threads are as many as cores."""
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
    )
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    return tf.distribute.Server(
        resolver.cluster_spec(),
        job_name=resolver.task_type,
        task_index=resolver.task_id,
        protocol="grpc",
        config=config,
    )


def main(core: str | None = None) -> None:
    """Serve until stdin ends."""
    if core is not None:
        os.sched_setaffinity(0, {int(core)})  # before TensorFlow starts its threads
    server = serve(threads=0 if core is None else 1)
    sys.stdin.read()
    del server
    os._exit(0)  # a server of TensorFlow does not stop by itself


if __name__ == "__main__":
    main(*sys.argv[1:])
