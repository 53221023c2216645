"""Training under a parameter server on this machine, its cluster, and workers that die."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import cut_nets
from train import cifar10, cluster
from train.lib.run import checkpoints, parameter_server, tf_servers
from train.lib.run.errors import UsageError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a:1"], "ps": []}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "boss", "index": 0}}',
    ],
)
def test_no_cluster_is_one_line_and_exit_code_2(config, run_script, monkeypatch, tmp_path):
    monkeypatch.setenv("TF_CONFIG", config)
    code, _, err = run_script(
        cifar10, "--strategy=parameter_server", "--dataset=shapes", f"--workdir={tmp_path / 'run'}"
    )
    assert (code, err.count("\n")) == (2, 1)
    assert "expected TF_CONFIG with addresses of ps and worker" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flag", ["--jit_compile", "--steps_per_execution=2", "--deterministic"])
def test_flags_without_effect_are_refused(flag, run_script, tmp_path):
    code, _, err = run_script(
        cifar10, "--strategy=parameter_server", flag, f"--workdir={tmp_path / 'run'}"
    )
    assert (code, err.count("\n")) == (2, 1)
    assert f"{flag} has no effect with --strategy=parameter_server" in err
    assert not (tmp_path / "run").exists()


def test_a_worker_that_never_comes_up_is_named(run_script, monkeypatch, tmp_path):
    silent, address = tf_servers.free_addresses(2)
    for absent in (silent, "no.such.host.invalid:1"):
        config = {"cluster": {"ps": [absent], "worker": [address]}}
        config["task"] = {"type": "chief", "index": 0}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        monkeypatch.setattr(parameter_server, "WAIT", 0.1)
        code, _, err = run_script(
            *(cifar10, "--strategy=parameter_server", "--dataset=shapes"),
            f"--workdir={tmp_path / 'run'}",
        )
        assert (code, err.count("\n")) == (2, 1)
        assert f"no TensorFlow server answers at {absent} (ps 0 of TF_CONFIG) after 0.1 s" in err
        assert not (tmp_path / "run").exists()


def test_a_script_that_cluster_cannot_run_is_refused():
    with pytest.raises(UsageError, match="after the flags, got nothing"):
        cluster.run_on_cluster("nothing", [], 2)


@pytest.mark.slow
def test_a_worker_that_is_killed_does_not_lose_the_run(tmp_path):
    """The other one takes its batches."""
    addresses = tf_servers.free_addresses(4)
    jobs = {"ps": addresses[:1], "worker": addresses[1:3], "chief": addresses[3:]}
    config = {"cluster": jobs, "task": {"type": "chief", "index": 0}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(config), "PYTHONPATH": str(ROOT)}
    started = [tf_servers.start(jobs, *task) for task in (("ps", 0), ("worker", 0), ("worker", 1))]
    command = [sys.executable, "-m", "tests.support.survivor", "--strategy=parameter_server"]
    command += [f"--workdir={tmp_path}", "--steps=64"]
    try:
        options = {"env": environment, "cwd": ROOT, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen([*command, "--epochs=3"], **options) as run:
            for line in run.stdout:
                if line.startswith("step 64/192"):  # the second epoch begins
                    started[2].kill()
                    break
            else:
                pytest.fail("the run ended before a worker was killed")
            rest = run.stdout.read()
        assert run.returncode == 0, rest
        assert json.loads((tmp_path / "summary.json").read_text())["step"] == 192
    finally:
        for process in started:
            process.stdin.close()
            process.wait()


@pytest.mark.parametrize("method", ["sobolev", "backprop"])
def test_updates_of_a_step_are_those_that_keras_counts(method):
    model = cut_nets.compiled(cut_nets.tanh_net(), method, critic_steps=3, critic_batch=2)
    model.fit(*cut_nets.points(8), batch_size=2, verbose=0)
    for name, updates in parameter_server.updates_of_step(model).items():
        assert int(getattr(model, name).iterations) == 4 * updates


@pytest.mark.slow
def test_cifar10_by_racing_workers_goes_on_where_it_was(tmp_path):
    """After SIGTERM, which the chief gets too, and after its end."""
    command = [sys.executable, "-m", "train.cluster", "train.cifar10", "--dataset=shapes"]
    command += ["--width_multiplier=0.02", "--batch_size=4", "--splits=1", "--num_evals=1"]
    command += ["--steps=160", "--critic_steps=3", "--save_minutes=0", f"--workdir={tmp_path}"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        while not list(tmp_path.glob("checkpoints/*.npz")):
            assert run.poll() is None
            time.sleep(0.05)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        run.terminate()
        assert "SIGTERM: saved at step" in run.stderr.read()
    assert run.returncode == 128 + signal.SIGTERM
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    for words in ("resuming at step", "all 160 steps are done"):
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr[-2000:]
        assert words in ended.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"] == 160
    assert summary["last"]["cut1_cosine"] != 0
    right = summary["last"]["accuracy"] * 640  # of an epoch's images: whole, if no sum was lost
    assert right == pytest.approx(round(right), abs=1e-4)
    assert summary["saved_model_difference"] < 1e-5
    state, _ = checkpoints.read(sorted(tmp_path.glob("checkpoints/*.npz"))[-1])
    updates = {name.split("/")[0]: n for name, n in state.items() if name.endswith("/iteration")}
    assert updates == {"optimizer": 160, "critic_optimizer": 480}


@pytest.mark.parametrize("argument", ["--strategy=none", "--strategy", "-strategy=mirrored"])
def test_a_cluster_has_one_strategy(argument):
    with pytest.raises(UsageError, match=r"a cluster trains with --strategy=parameter_server"):
        cluster.run_on_cluster("train.cifar10", [argument], 2)
