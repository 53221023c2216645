"""Train a script of section 4.3 by several workers on this machine.

    python -m train.cluster --workers=2 train.cifar10 --strategy=multi_worker

starts two processes that take each step together, each on its half of the batch. If one dies, all
end; the same command resumes.

    python -m train.cluster --workers=2 train.cifar10

is --strategy=parameter_server: the workers update one model asynchronously, and training continues
if one dies.

Both are `python -m train.cifar10` in processes whose TF_CONFIG names each other. On several
machines run that on each: train/README.md shows how.
"""

import re
import subprocess
import sys
from collections.abc import Sequence

from absl import flags

from train.lib.run import cli, local_workers, memory, tf_servers
from train.lib.run.errors import UsageError

SCRIPTS = ("train.cifar10", "train.imagenet")
ASYNCHRONOUS, SYNCHRONOUS = "--strategy=parameter_server", "--strategy=multi_worker"
FLAGS = flags.FlagValues()
flags.DEFINE_integer(
    "workers", 2, "Number of workers. Type it before the script.", 1, flag_values=FLAGS
)


def run_on_cluster(script: str, arguments: Sequence[str], workers: int) -> int:
    """Run a script on a new local cluster, and return the chief's exit code.

    Args:
      script: one of SCRIPTS.
      arguments: the script's flags; of --strategy, multi_worker or parameter_server, the default.
      workers: how many workers the cluster has.

    Raises:
      UsageError: for another script or strategy.
      CommandError: where a worker of multi_worker has died.
    """
    if script not in SCRIPTS:
        expected = " or ".join(SCRIPTS)
        raise UsageError(f"expected {expected} after the flags, got {script or 'none'}")
    for argument in arguments:
        if re.match("--?strategy(=|$)", argument) and argument not in (ASYNCHRONOUS, SYNCHRONOUS):
            raise UsageError(
                f"{argument}: a cluster trains with {ASYNCHRONOUS}, the default, or {SYNCHRONOUS}"
            )
    memory.refuse_more_than_there_is(f"--workers={workers}", (workers + 2) * memory.PROCESS_BYTES)
    if SYNCHRONOUS in arguments:
        return local_workers.run(script, arguments, workers)
    with tf_servers.local(ps=1, worker=workers) as cluster:
        [chief] = tf_servers.free_addresses(1)
        config = {"cluster": {"chief": [chief], **cluster}, "task": {"type": "chief", "index": 0}}
        print(f"Started a parameter server and {workers} workers on this machine", flush=True)
        started: list[subprocess.Popen] = []
        try:
            with local_workers.passed_on(started):
                started.append(local_workers.start(script, [*arguments, ASYNCHRONOUS], config))
                return local_workers.exit_code(started[0].wait())
        finally:
            local_workers.end(started)


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Return the flags before the script's name, the name, and what is after it.

    >>> split_arguments(["--workers=3", "train.cifar10", "--seed=1"])
    (['--workers=3'], 'train.cifar10', ['--seed=1'])
    >>> split_arguments(["--workers", "3", "train.cifar10"])
    (['--workers', '3'], 'train.cifar10', [])
    """
    typed = cli.are_flags(arguments, FLAGS)
    names = [i for i, flag in enumerate(typed) if not flag]
    if not names:
        return list(arguments), "", []
    return list(arguments[: names[0]]), arguments[names[0]], list(arguments[names[0] + 1 :])


if __name__ == "__main__":
    own, script, arguments = split_arguments(sys.argv[1:])
    sys.argv[1:] = own
    # The script says itself how long it took.
    cli.run(lambda settings: sys.exit(run_on_cluster(script, arguments, settings.workers)), FLAGS)
