"""Shared by all tests: two logical CPU devices, fixed seeds, and AutoGraph failures as errors."""

import gc
import logging
import os
import random
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "agg")
# Two workers on two cores: threads of their own would only wait for each other.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# First, since it imports TensorFlow without its start-up noise.
import train  # noqa: F401

# isort: split
import keras
import pytest
import tensorflow as tf

from sobolev_tf import row_share
from sobolev_tf.keras_support import batching
from train.lib.run import cli

# TensorFlow's modules are a million objects, which are there to stay: not to be looked through.
gc.freeze()
gc.set_threshold(50_000, 20, 20)

# The end of any iterator, Keras's own too, would now and then wait a minute for tf.data's tuner.
_iterate = tf.data.Dataset.__iter__
tf.data.Dataset.__iter__ = lambda dataset: _iterate(batching.without_autotune(dataset))

# Two logical CPUs let MirroredStrategy run with two replicas on any machine.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(scope="session")
def two_replicas():
    """One strategy for the whole session: a second one would clash in TensorFlow's collectives."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(params=[False, True], ids=["neighbors", "function"])
def function(request):
    """fn as given to check_labels: not at all, or itself."""
    return (lambda fn: fn) if request.param else (lambda fn: None)


@pytest.fixture
def drawn_steps(monkeypatch):
    """The steps at which a share of the rows is drawn, in a list that grows with them."""
    steps, draw = [], row_share.draw
    monkeypatch.setattr(
        row_share, "draw", lambda t, share, step: steps.append(int(step)) or draw(t, share, step)
    )
    return steps


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same seeds."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def no_autograph_failures():
    """TensorFlow only logs it when AutoGraph gives up on a function; here that is an error."""
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    failures = [message for message in records if "AutoGraph" in message]
    assert not failures, failures


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Call a script as the command line does; return (exit code, stdout, stderr)."""

    def call(script, *arguments):
        name = script.__name__.removeprefix("train.").removesuffix(".__main__")
        monkeypatch.setattr("sys.argv", [name, *arguments])
        monkeypatch.setattr(cli, "script", lambda: f"train.{name}")
        with pytest.raises(SystemExit) as ended:
            cli.run(script.main, script.FLAGS, getattr(script, "PRESETS", None))
        return ended.value.code or 0, *capsys.readouterr()

    return call


@pytest.fixture
def saved_figures(monkeypatch):
    """Matplotlib's figures that are saved during a test, in their order."""
    from matplotlib.figure import Figure

    figures, save = [], Figure.savefig

    def keep(figure, *arguments, **options):
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


@pytest.fixture
def killed_and_whole(tmp_path):
    """Runs a command to its end, and again with kills at random moments: the two run folders."""

    def call(command, kills, moments=(0.2, 0.8)):
        folders = tmp_path / "broken", tmp_path / "whole"

        def start(folder):
            return subprocess.Popen(
                [sys.executable, "-m", *command, f"--workdir={folder}"],
                cwd=Path(__file__).parent.parent,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        began = time.monotonic()
        assert start(folders[1]).wait() == 0
        length, drawn = time.monotonic() - began, random.Random(0)
        for _ in range(kills):
            process = start(folders[0])
            time.sleep(drawn.uniform(*moments) * length)
            process.kill()
            process.wait()
        assert start(folders[0]).wait() == 0
        return folders

    return call


@pytest.fixture
def refused(run_script, tmp_path):
    """Call a script that must say why it does not run: one line, exit code 2, no run folder."""

    def call(script, *arguments):
        folder = tmp_path / "run"
        code, _, err = run_script(script, f"--workdir={folder}", *arguments)
        assert code == 2
        assert err.count("\n") == 1
        assert not folder.exists()
        return err

    return call
