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
from collections.abc import Iterator, Sequence
from pathlib import Path

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
        with _passed_on(started) as passed:
            addresses = tf_servers.free_addresses(count)
            for rank in range(count):
                started.append(_start(script, arguments, addresses, rank, folder))
            print(f"Started {count} workers on this machine; logs: {folder}", flush=True)
            first = _wait_for_all(started)
            code = started[0].returncode
            if first is None or passed or _is_said(started, first):
                return code if code >= 0 else 128 - code
        kept = True
        raise _died(started[first], first, folder)
    finally:
        for process in started:
            process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _start(script, arguments, addresses, rank, folder):
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(config), workers.STARTED_BY: "1"}
    # TensorFlow says in many lines what the one line of the script says.
    environment["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")
    command = [sys.executable, "-m", "train.lib.run.child", script, *arguments]
    with contextlib.ExitStack() as stack:
        log = None  # the chief prints here
        if rank:
            log = stack.enter_context(open(log_of(folder, rank), "wb"))
            (folder / "tmp").mkdir(exist_ok=True)
            environment["TMPDIR"] = str(folder / "tmp")
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for this process
        )


def log_of(folder: Path, rank: int) -> Path:
    """Return where a worker's output goes."""
    return folder / f"worker{rank}.log"


@contextlib.contextmanager
def _passed_on(started: Sequence[subprocess.Popen]) -> Iterator[list[int]]:
    """Pass signals on to the chief; a second one ends all workers at once."""
    passed: list[int] = []

    def pass_on(number, frame):
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
    error.code = 128 - code if code < 0 else code
    return error
