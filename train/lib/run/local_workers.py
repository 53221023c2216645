"""Workers of one script on this machine, which take each step together and end together."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from train.lib.run import tf_servers, workers
from train.lib.run.errors import CommandError, UsageError

GRACE = 20  # seconds for the others to end by themselves; they notice within about 10
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(script: str, arguments: Sequence[str], count: int) -> int:
    """Run `count` workers of a script, and return the chief's exit code.

    The chief, worker 0, prints here; what the others print goes into a folder of logs, which stays
    if one of them fails. Ctrl-C is passed on to the chief, with which the others stop.

    Args:
      script: the module.
      arguments: its flags.
      count: how many workers.

    Raises:
      CommandError: naming the first worker that has died, when the others were ended.
    """
    folder = Path(tempfile.mkdtemp(prefix="train-cluster-"))
    started: list[subprocess.Popen] = []
    kept = False
    try:
        with passed_on(started) as passed:
            addresses = tf_servers.free_addresses(count)
            for rank in range(count):
                started.append(_start_worker(script, arguments, addresses, rank, folder))
            print(f"Started {count} workers on this machine; logs: {folder}", flush=True)
            first = _wait_for_all(started)
            code = started[0].returncode
            if first is None or passed or _is_said(started, first):
                return exit_code(code)
        kept = True
        raise _died(started[first], first, folder)
    finally:
        end(started)
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def start(
    script: str,
    arguments: Sequence[str],
    config: Mapping[str, Any],
    log: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """Start a script in a process that ends with this one, and that Ctrl-C does not reach.

    Args:
      script: the module.
      arguments: its flags.
      config: its TF_CONFIG.
      log: what it prints goes there; None prints here.
      environment: more variables of its environment.
    """
    environment = {**os.environ, "TF_CONFIG": json.dumps(config), **(environment or {})}
    # TensorFlow says in many lines what the one line of the script says.
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return subprocess.Popen(
        [sys.executable, "-m", "train.lib.run.child", script, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def end(started: Iterable[subprocess.Popen]) -> None:
    """Kill what is left of processes that `start` has started."""
    for process in started:
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()


def exit_code(code: int) -> int:
    """Return a process's exit code, 128 + the signal if one has killed it."""
    return code if code >= 0 else 128 - code


def _start_worker(script, arguments, addresses, rank, folder):
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
    environment = {workers.STARTED_BY: "1"}
    if not rank:  # the chief prints here
        return start(script, arguments, config, environment=environment)
    (folder / "tmp").mkdir(exist_ok=True)
    environment["TMPDIR"] = str(folder / "tmp")
    with open(log_of(folder, rank), "wb") as log:
        return start(script, arguments, config, log, environment)


def log_of(folder: Path, rank: int) -> Path:
    """Return where a worker's output goes."""
    return folder / f"worker{rank}.log"


@contextlib.contextmanager
def passed_on(started: Sequence[subprocess.Popen]) -> Iterator[list[int]]:
    """Pass signals on to the first process, the chief; a second one kills all at once.

    Returns:
      The signals that have come so far.
    """
    passed: list[int] = []

    def pass_on(number, frame):
        if not started:
            sys.exit(128 + number)
        passed.append(number)
        for process in started[:1] if len(passed) == 1 else started:
            process.send_signal(number if len(passed) == 1 else signal.SIGKILL)

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        yield passed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for_all(started):
    """Wait until all workers have ended; return the first that has failed, or None.

    Then the others are ended: at once if a signal has killed it, else if they do not end.
    """
    first, end = None, float("inf")
    while True:
        codes = [process.poll() for process in started]
        if first is None and any(codes):
            # Whoever was killed, before those that have noticed it.
            first = codes.index(min(code for code in codes if code))
            end = time.monotonic() + (0 if codes[first] < 0 else GRACE)
        if None not in codes:
            return first
        if time.monotonic() >= end:
            for process in started:
                process.kill()
        time.sleep(0.1)


def _is_said(started, first):
    """Return whether the chief has said why all have ended."""
    chief, code = started[0].returncode, started[first].returncode
    stopped = code in [128 + number for number in SIGNALS]  # one was told to, and all have saved
    return stopped or (chief > 0 and (first == 0 or chief == code == UsageError.code))


def _died(process, rank, folder):
    """Return the line, and the exit code, of the worker that has died."""
    name = "worker 0, the chief," if rank == 0 else f"worker {rank}"
    code = process.returncode
    if code < 0:
        said = f"{name} was killed by {signal.Signals(-code).name}"
    else:
        lines = log_of(folder, rank).read_text(errors="replace").strip().splitlines()
        said = f"{name} ended with exit code {code}: {lines[-1] if lines else 'it says nothing'}"
    error = CommandError(
        f"{said}; all workers were ended, the same command resumes; logs: {folder}"
    )
    error.code = exit_code(code)
    return error
