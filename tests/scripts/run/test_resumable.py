"""Interrupted in any way and started again, a run ends as if nothing had happened."""

import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.support.cases import slow
from tests.support.survivor import build, stream
from train.lib.run import metrics_csv, resumable, run_folder, save_callback
from train.lib.run.errors import UsageError

ROOT = Path(__file__).parents[3]
EPOCHS, STEPS = 2, 4


class Break(keras.callbacks.Callback):
    """Sends this process a signal, or raises, at the n-th batch of training or validation."""

    def __init__(self, train=0, test=0, number=None):
        super().__init__()
        self.left = {"train": train, "test": test}
        self.number = number

    def count(self, kind):
        self.left[kind] -= 1
        if self.left[kind] == 0:
            if self.number is None:
                raise ConnectionError("killed")
            os.kill(os.getpid(), self.number)

    def on_train_batch_end(self, batch, logs=None):
        self.count("train")

    def on_test_batch_end(self, batch, logs=None):
        self.count("test")


def train(folder, strategy=None, callbacks=(), epochs=EPOCHS, steps=STEPS, rate=0.01, **options):
    """Train as a script does, in a process of its own as far as seeds go."""
    keras.utils.set_random_seed(1)
    with run_folder.Run(folder, {}) as run:
        if strategy:
            with strategy.scope():
                model = build(rate, **options)
        else:
            model = build(rate, **options)
        rows = resumable.fit(
            model,
            lambda step: stream(0, step),
            run,
            epochs,
            steps,
            validation_data=stream(1, 0).take(2),
            callbacks=callbacks,
            saving=resumable.Saving(steps=2),
            verbose=0,
        )
    return model, rows


def assert_same(first, second):
    """Weights and rows agree. To the last bit only where TensorFlow was made deterministic."""
    for a, b in zip(first[0].variables, second[0].variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
    assert len(first[1]) == len(second[1]) == EPOCHS
    for a, b in zip(first[1], second[1], strict=True):
        assert list(a) == list(b)
        assert all(np.isclose(a[k], b[k], rtol=1e-5) for k in a if k != "seconds")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return train(tmp_path_factory.mktemp("unbroken"))


@pytest.mark.parametrize(
    "options",
    [*slow({}), {"steps_per_execution": 2}],
    ids=str,
)
def test_an_interrupted_run_ends_as_an_unbroken_one(tmp_path, unbroken, options):
    """First in training, with a damaged checkpoint and half a row, then in validation."""
    with pytest.raises(ConnectionError):
        train(
            tmp_path, callbacks=[Break(train=7 // options.get("steps_per_execution", 1))], **options
        )
    newest = max((tmp_path / "checkpoints").glob("*.npz"))
    newest.write_bytes(newest.read_bytes()[:-100])
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("2,8,0")
    with pytest.raises(ConnectionError):
        train(tmp_path, callbacks=[Break(test=1)], **options)
    assert_same(unbroken, train(tmp_path, **options))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"jit_compile": True}, {}], ids=["XLA", "two replicas"])
def test_an_interrupted_run_with_numbers_of_its_own(tmp_path, two_replicas, options):
    """XLA draws other random numbers, and replicas normalize over their own part of a batch."""
    options = options or {"strategy": two_replicas}
    with pytest.raises(ConnectionError):
        train(tmp_path / "b", callbacks=[Break(train=7)], **options)
    assert_same(train(tmp_path / "a", **options), train(tmp_path / "b", **options))


@pytest.mark.parametrize(
    ("number", "code", "place"),
    [(signal.SIGTERM, 143, {"train": 3}), (signal.SIGINT, 130, {"test": 1})],
    ids=["SIGTERM in training", "SIGINT in validation"],
)
def test_signals_save_and_leave(tmp_path, unbroken, number, code, place):
    with pytest.raises(save_callback.Stopped, match="the same command resumes") as stopped:
        train(tmp_path, callbacks=[Break(**place, number=number)])
    assert stopped.value.code == code
    step = place.get("train", STEPS)
    assert (tmp_path / f"checkpoints/step-{step:010d}.npz").exists()
    assert_same(unbroken, train(tmp_path))


def test_more_epochs_go_on_and_a_finished_run_only_reads(tmp_path, unbroken, capsys):
    train(tmp_path, epochs=1)
    assert_same(unbroken, train(tmp_path))
    rows = (tmp_path / "metrics.csv").read_text()
    assert_same(unbroken, train(tmp_path, callbacks=[Break(train=1, test=1)]))
    assert (tmp_path / "metrics.csv").read_text() == rows
    assert "all 8 steps are done" in capsys.readouterr().out


def test_a_bad_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(save_callback.Diverged, match=r"loss is not finite at step 5"):
        train(tmp_path, callbacks=[Poison()])
    assert max((tmp_path / "checkpoints").glob("*.npz")).name == "step-0000000004.npz"
    with pytest.raises(UsageError, match="steps_per_epoch=4, now it is 5"):
        train(tmp_path, steps=5)
    with pytest.raises(ValueError, match="steps_per_epoch=4 must be a multiple"):
        train(tmp_path, steps_per_execution=3)


class Poison(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.layers[-1].bias.assign([np.nan] * 4)


def test_metrics_of_another_run_are_noticed(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,seconds,loss,val_loss\n1,4,2,0.5,0.1\n")
    history = metrics_csv.History(tmp_path / "metrics.csv", 4)
    resumable.check_logs(history, {"loss": 0.5, "val_loss": 0.1})
    resumable.check_logs(history, {})
    with pytest.raises(UsageError, match=r"val_loss is 0.1 at step 4, and 0.25 in the checkpoint"):
        resumable.check_logs(history, {"loss": 0.5, "val_loss": 0.25})


def test_the_term_that_is_not_finite_is_named():
    with pytest.raises(
        save_callback.Diverged, match=r"^cut1_gradient_loss is not finite at step 7"
    ):
        save_callback.check_losses(
            None,
            {"cosine": np.nan, "cut1_gradient_loss": np.inf, "cut2_loss": 1.0, "loss": np.nan},
            7,
        )


def start(workdir, *arguments):
    """Start the test run in a process of its own; its output goes to WORKDIR.log."""
    command = [
        sys.executable,
        "-m",
        "tests.support.survivor",
        f"--workdir={workdir}",
        "--deterministic",
    ]
    with open(f"{workdir}.log", "wb") as log:
        return subprocess.Popen([*command, *arguments], cwd=ROOT, stdout=log, stderr=log)


def training(workdir, process):
    """Wait until the process trains; False if it came to its end."""
    while not re.search(rb"step [1-9]", Path(f"{workdir}.log").read_bytes()):
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    return True


def assert_identical(first, second):
    a, b = np.load(first / "weights.npz"), np.load(second / "weights.npz")
    assert all(np.array_equal(a[name], b[name]) for name in a.files)
    rows = [metrics_csv.read_rows(folder / "metrics.csv") for folder in (first, second)]
    for row in itertools.chain(*rows):
        del row["seconds"]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 3


def break_off(workdir, number, *arguments):
    """Start the run, and send it a signal at a random moment of its training."""
    process = start(workdir, *arguments)
    assert training(workdir, process)
    with pytest.raises(UsageError, match=rf"in use by another run \(process {process.pid}\)"):
        run_folder.Run(workdir, {})
    time.sleep(random.uniform(0, 0.8))
    process.send_signal(number)
    process.wait()
    log = Path(f"{workdir}.log").read_text()
    assert process.returncode == (143 if number == signal.SIGTERM else -number), log
    return log


@pytest.mark.slow
def test_killed_processes_end_with_the_same_weights(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = start(whole)
    break_off(broken, signal.SIGKILL, "--pause=0.05")
    log = break_off(broken, signal.SIGTERM, "--pause=0.05")
    assert re.search(r"SIGTERM: saved at step \d+ of 120; the same command resumes\n$", log)
    assert [start(broken).wait(), unbroken.wait()] == [0, 0]
    assert_identical(whole, broken)


@pytest.mark.slow
@pytest.mark.parametrize(
    "option", ["--strategy=none", "--strategy=auto", "--steps_per_execution=4"]
)
def test_ten_kills_end_with_the_same_weights(tmp_path, option):
    # Long enough that ten kills come before the end: four steps in one execution pause once.
    pause = "--pause=0.4" if "execution" in option else "--pause=0.1"
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole, option).wait() == 0
    for _ in range(10):
        break_off(broken, signal.SIGKILL, option, pause)
    assert start(broken, option).wait() == 0
    assert_identical(whole, broken)
