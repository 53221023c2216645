"""TensorFlow servers: a small cluster on this machine, and whether one that was named answers.

    with servers.local(worker=2, ps=1) as cluster:     # {"worker": ["127.0.0.1:...", ...], ...}
        servers.wait(cluster, seconds=60)

A local server is a process of its own and ends with this one, however it ends.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

from train.lib.run.errors import UsageError


@contextlib.contextmanager
def local(pin=False, **tasks):
    """Servers of `tasks` of each job on this machine; yields {job: addresses} when they are up.

    pin: one thread and one core for each, the first server on the first core, and so on.
    """
    addresses = iter(free_addresses(sum(tasks.values())))
    cluster = {job: [next(addresses) for _ in range(count)] for job, count in tasks.items()}
    started = []
    try:
        for job, count in tasks.items():
            for index in range(count):
                core = [str(len(started) % os.cpu_count())] if pin else []
                started.append(start(cluster, job, index, *core))
        yield cluster
    finally:
        for process in started:
            process.stdin.close()
        for process in started:
            process.wait()


def start(cluster, job, index, *core):
    """One server's process; it ends when its stdin does."""
    command = [sys.executable, "-m", "train.lib.run.tf_servers", *core]
    config = {"cluster": cluster, "task": {"type": job, "index": index}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": "-1"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the one that started it
    )


def wait(cluster, seconds):
    """Waits until every address answers. Raises UsageError, naming the first that does not."""
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


def _answers(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def free_addresses(count):
    """Addresses of this machine that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def serve(threads=0):
    """Starts the server of TF_CONFIG's task in this process. threads: 0 for as many as cores."""
    import tensorflow as tf

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


def main(*core):
    if core:
        os.sched_setaffinity(0, {int(core[0])})  # before TensorFlow makes its threads
    server = serve(threads=len(core))
    sys.stdin.read()
    del server
    os._exit(0)  # a server of TensorFlow does not stop by itself


if __name__ == "__main__":
    main(*sys.argv[1:])
