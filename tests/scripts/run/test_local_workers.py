"""Several workers on this machine: they train as one process does, die, and resume."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from train.lib.run import checkpoints, local_workers
from train.lib.run.errors import CommandError

ROOT = Path(__file__).parents[3]
SMALL = ["--dataset=shapes", "--splits=1", "--width_multiplier=0.02", "--batch_size=8", "--steps=6"]
SMALL += ["--num_evals=1", "--save_minutes=0", "--deterministic"]
MINUTES = 10 * 60  # far more than any of this takes


def start(folder, *more):
    """Start train.cluster on two workers."""
    command = [sys.executable, "-m", "train.cluster", "--workers=2", "train.cifar10", *SMALL]
    command += ["--strategy=multi_worker", f"--workdir={folder}", *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"TMPDIR": str(folder.parent)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def end(process):
    """Return (exit code, stdout, stderr) of a cluster, of which nothing is left."""
    workers = children(process.pid)
    try:
        out, err = process.communicate(timeout=MINUTES)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    return process.returncode, out, err


def children(pid):
    """Return the processes that another has started, from the oldest on."""
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(process, path):
    """Wait until a running cluster has written a file."""
    deadline = time.monotonic() + MINUTES
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def step(folder, number):
    return folder / "checkpoints" / f"{checkpoints.stem(number)}.npz"


@pytest.mark.slow
def test_two_workers_whoever_is_killed_end_as_if_nobody_was(tmp_path):
    """With the weights of an unbroken run, to the last bit; nearly those of two replicas here."""
    folder = tmp_path / "killed"
    for rank, number in ((1, 1), (0, 3)):
        process = start(folder)
        wait_for(process, step(folder, number))
        os.kill(children(process.pid)[rank], signal.SIGKILL)
        code, _, err = end(process)
        assert code == 128 + signal.SIGKILL
        name = "worker 1" if rank else "worker 0, the chief,"
        assert err.startswith(
            f"train.cluster: {name} was killed by SIGKILL; all workers were ended"
        )
        assert err.count("\n") == 1
        assert list(tmp_path.glob("train-cluster-*/worker1.log"))
    process = start(folder)
    wait_for(process, step(folder, 4))
    process.send_signal(signal.SIGINT)
    code, _, err = end(process)
    assert code == 128 + signal.SIGINT, err
    assert "SIGINT: saved at step" in err
    code, out, err = end(start(folder))
    assert code == 0, err
    assert "resuming at step" in out
    assert out.count("step 6/6") == 2  # the chief alone prints

    whole = tmp_path / "whole"
    code, _, err = end(start(whole))
    assert code == 0, err
    resumed, expected = (dict(np.load(step(path, 6))) for path in (folder, whole))
    for name, array in expected.items():
        if name != checkpoints.FACTS:
            np.testing.assert_array_equal(resumed[name], array, err_msg=name)
    assert any("@1" in name for name in expected)  # the second worker's own statistics

    command = [sys.executable, "-m", "train.cifar10", *SMALL, "--devices=2"]
    subprocess.run([*command, f"--workdir={tmp_path / 'here'}"], cwd=ROOT, check=True)
    here = dict(np.load(step(tmp_path / "here", 6)))
    assert here.keys() == expected.keys()
    for name, array in here.items():
        if name.startswith(("model/", "optimizer/", "critic_optimizer/")):
            np.testing.assert_allclose(expected[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_signal_is_passed_on_and_a_second_one_kills(tmp_path):
    log = tmp_path / "log"
    for number_of_signals, code in ((1, 128 + signal.SIGTERM), (2, 128 + signal.SIGKILL)):
        started = []
        with local_workers.passed_on(started) as passed, open(log, "wb") as file:
            process = local_workers.start("tests.support.patient", [], {}, file)
            while log.read_text() != "waiting\n":
                assert process.poll() is None
                time.sleep(0.01)
            started.append(process)
            if number_of_signals == 2:
                process.send_signal(signal.SIGSTOP)
            for _ in range(number_of_signals):
                os.kill(os.getpid(), signal.SIGTERM)
            assert local_workers.exit_code(process.wait(MINUTES)) == code
        assert passed == [signal.SIGTERM] * number_of_signals
        assert log.read_text().endswith("saved\n") == (number_of_signals == 1)
        local_workers.end(started)


def test_a_signal_before_anything_was_started_ends_the_cluster():
    with local_workers.passed_on([]), pytest.raises(SystemExit) as error:
        os.kill(os.getpid(), signal.SIGTERM)
    assert error.value.code == 128 + signal.SIGTERM


@pytest.mark.slow
def test_what_a_worker_says_at_its_end_is_passed_on(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(local_workers, "GRACE", 0.5)
    with pytest.raises(CommandError, match=r"^worker 1 ended with exit code 3: it fails; all") as e:
        local_workers.run("tests.support.fragile", ["1"], 2)
    assert e.value.code == 3
    assert local_workers.run("tests.support.fragile", ["0"], 2) == 3
    assert "it fails" in capfd.readouterr().err
    assert local_workers.run("tests.support.fragile", ["none"], 2) == 0
