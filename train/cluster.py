"""Train a script of section 4.3 asynchronously on this machine: one parameter server, two workers.

    python -m train.cluster train.cifar10 --method=sobolev

starts the servers, and runs `python -m train.cifar10 --method=sobolev --strategy=parameter_server`
with a TF_CONFIG that names them. --workers=N, before the script, sets the number of workers.

On several machines, run the second command on each, with its own TF_CONFIG: {"cluster": {"chief":
["host:port"], "ps": [...], "worker": [...]}, "task": {"type": "worker", "index": 0}}.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence

from absl import flags

from train.lib.run import cli, memory, tf_servers
from train.lib.run.errors import UsageError

SCRIPTS = ("train.cifar10", "train.imagenet")
CLUSTER_STRATEGY = "--strategy=parameter_server"
FLAGS = flags.FlagValues()
flags.DEFINE_integer(
    "workers", 2, "Number of workers. Type it before the script.", 1, flag_values=FLAGS
)


def run_on_cluster(script: str, arguments: Sequence[str], workers: int) -> int:
    """Run a script as the chief of a new local cluster, and return its exit code.

    Args:
      script: one of SCRIPTS.
      arguments: the script's flags.
      workers: how many workers the cluster has.

    Raises:
      UsageError: for another script.
    """
    if script not in SCRIPTS:
        expected = " or ".join(SCRIPTS)
        raise UsageError(f"expected {expected} after the flags, got {script or 'none'}")
    for argument in arguments:
        if re.match("--?strategy(=|$)", argument) and argument != CLUSTER_STRATEGY:
            raise UsageError(f"{argument}: a cluster trains with {CLUSTER_STRATEGY}; leave it out")
    memory.refuse_more_than_there_is(f"--workers={workers}", (workers + 2) * memory.PROCESS_BYTES)
    with tf_servers.local(ps=1, worker=workers) as cluster:
        [chief] = tf_servers.free_addresses(1)
        config = {"cluster": {"chief": [chief], **cluster}, "task": {"type": "chief", "index": 0}}
        print(f"Started a parameter server and {workers} workers on this machine", flush=True)
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the script
        return subprocess.run(
            [sys.executable, "-m", script, *arguments, CLUSTER_STRATEGY],
            env={**os.environ, "TF_CONFIG": json.dumps(config)},
        ).returncode


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Return the flags before the script's name, the name, and what is after it.

    >>> split_arguments(["--workers=3", "train.cifar10", "--seed=1"])
    (['--workers=3'], 'train.cifar10', ['--seed=1'])
    """
    names = [i for i, argument in enumerate(arguments) if not argument.startswith("-")]
    if not names:
        return list(arguments), "", []
    return list(arguments[: names[0]]), arguments[names[0]], list(arguments[names[0] + 1 :])


if __name__ == "__main__":
    own, script, arguments = split_arguments(sys.argv[1:])
    sys.argv[1:] = own
    # The script says itself how long it took.
    cli.run(lambda settings: sys.exit(run_on_cluster(script, arguments, settings.workers)), FLAGS)
