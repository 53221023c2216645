"""Runs a script of section 4.3 asynchronously on this machine: one parameter server, two workers.

    python -m train.cluster train.cifar10 --method=sobolev

is `python -m train.cifar10 --method=sobolev --strategy=parameter_server`, with the processes that
it needs, and a TF_CONFIG that names them. Over several machines start that command on each, with
the TF_CONFIG of each: {"cluster": {"chief": ["host:port"], "ps": [...], "worker": [...]},
"task": {"type": "worker", "index": 0}}.
"""

import json
import os
import signal
import subprocess
import sys

from absl import flags

from train.lib.run import cli, tf_servers

SCRIPTS = ("train.cifar10", "train.imagenet")
FLAGS = flags.FlagValues()
flags.DEFINE_integer("workers", 2, "How many take steps; before the script.", 1, flag_values=FLAGS)


def main(script, arguments, workers):
    if script not in SCRIPTS:
        raise cli.UsageError(f"expected one of {', '.join(SCRIPTS)}, given {script or 'none'}")
    with tf_servers.local(ps=1, worker=workers) as cluster:
        [chief] = tf_servers.free_addresses(1)
        config = {"cluster": {"chief": [chief], **cluster}, "task": {"type": "chief", "index": 0}}
        print(f"A parameter server and {workers} workers run on this machine", flush=True)
        environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
        signal.signal(signal.SIGINT, lambda *_: None)  # the script's to act on
        command = [sys.executable, "-m", script, *arguments, "--strategy=parameter_server"]
        sys.exit(subprocess.run(command, env=environment).returncode)


def split(typed):
    """Flags before the script's name, the name, and what is after it.

    >>> split(["--workers=3", "train.cifar10", "--seed=1"])
    (['--workers=3'], 'train.cifar10', ['--seed=1'])
    """
    at = next((i for i, each in enumerate(typed) if not each.startswith("-")), len(typed))
    return typed[:at], typed[at] if at < len(typed) else "", typed[at + 1 :]


if __name__ == "__main__":
    sys.argv[1:], script, arguments = split(sys.argv[1:])
    cli.run(lambda settings: main(script, arguments, settings.workers), FLAGS)
