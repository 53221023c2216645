"""The CIFAR-10 script in a tiny configuration, every method, several seeds."""

import dataclasses
import functools
import json
import types

import keras
import numpy as np
import pytest

import sobolev_tf as st
from train import cifar10
from train.lib.images import experiment, shapes

TINY = ["--dataset=shapes", "--strategy=none", "--batch_size=4", "--width=0.03"]


def small_net(size, classes):
    h = inputs = keras.Input([size, size, 3])
    for name in cifar10.CUTS[3]:
        h = keras.layers.Conv2D(2, 3, strides=2, activation="relu", name=name)(h)
    h = keras.layers.Flatten()(h)
    return keras.Model(inputs, keras.layers.Dense(classes)(h))


@pytest.fixture
def run(monkeypatch, run_script):
    """With a small net of the same names: tracing the paper's takes most of a minute."""
    monkeypatch.setattr(shapes, "SIZES", {"train": 64, "validation": 8})
    task = dataclasses.replace(cifar10.TASK, build_net=small_net)
    monkeypatch.setattr(cifar10, "TASK", task)
    return functools.partial(run_script, cifar10)


@pytest.mark.parametrize("method", [pytest.param("direct", marks=pytest.mark.slow), "sobolev"])
def test_a_cell_of_table_1(method, run, tmp_path):
    length = ["--updates=8", "--steps=2", "--evaluations=1"]
    code, out, err = run(*TINY, f"--method={method}", *length, f"--workdir={tmp_path}")
    assert code == 0, err
    assert "conv8_out" in out
    assert ("accuracy of m" in out) == (method == "sobolev")
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 2


@pytest.mark.parametrize(
    ("flags", "channels"),
    [
        (["--width=0.25"], 32),
        (["--width=0.25", "--module_width=1"], 128),
        (["--preset=paper"], 128),
        (["--module_width=0.0078125"], 1),
    ],
)
@pytest.mark.parametrize("method", ["direct", "vfbn"])
def test_modules_are_as_wide_as_the_net(method, flags, channels, run_script, monkeypatch):
    monkeypatch.setattr(cifar10.experiment, "main", lambda *_: 0)
    run_script(cifar10, *flags)
    built = cifar10.module(method)((8, 8, 4), 10)
    first = next(layer for layer in built.layers if isinstance(layer, keras.layers.Conv2D))
    assert first.filters == channels


@pytest.mark.parametrize("start", ["zeros", "glorot_uniform"])
def test_where_direct_modules_start(start, run_script, monkeypatch):
    monkeypatch.setattr(cifar10.experiment, "main", lambda *_: 0)
    run_script(cifar10, f"--direct_start={start}")
    built = cifar10.module("direct")((8, 8, 4), 10)
    gradient = built([np.ones([2, 8, 8, 4], "f"), np.eye(10, dtype="f")[:2]])
    assert (np.abs(gradient).max() == 0) == (start == "zeros")


def test_flags_say_what_critics_lower(run_script, monkeypatch):
    monkeypatch.setattr(cifar10.experiment, "main", lambda *_: 0)
    task = dataclasses.replace(cifar10.TASK, build_net=small_net)
    size = types.SimpleNamespace(image_size=32, num_classes=10)
    for flags, loss, weight in (
        ([], st.losses.L1Norm, 1.0),
        (["--gradient_loss=relative", "--gradient_weight=0.1"], st.losses.RelativeNorm, 0.1),
    ):
        run_script(cifar10, *flags)
        model = experiment._build(cifar10.FLAGS, task, size, cifar10.CUTS[1], 10)
        config = model.get_compile_config()
        assert config["critic_losses"][1]["class_name"] == loss.__name__
        assert config["critic_loss_weights"] == [1.0, weight]


@pytest.mark.slow
def test_parts_on_devices_of_their_own(run, tmp_path):
    tiny = [flag for flag in TINY if "strategy" not in flag]
    length = ["--splits=1", "--steps=4", "--together=2", "--evaluations=2"]
    code, _, err = run(*tiny, "--placement=stages", *length, f"--workdir={tmp_path}")
    assert code == 0, err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"] == 4
    assert summary["last"]["cut1_gradient_loss"] > 0
    assert "cut1_cosine" not in summary["last"]


@pytest.mark.slow
def test_seeds_have_a_mean_and_go_on(run, tmp_path):
    command = [*TINY, "--method=noprop", "--steps=1", "--seeds=0,3", f"--workdir={tmp_path}"]
    code, out, err = run(*command)
    assert code == 0, err
    found = json.loads((tmp_path / "seeds.json").read_text())
    runs = [json.loads((tmp_path / f"seed{k}" / "summary.json").read_text()) for k in (0, 3)]
    assert found["top1"] == [summary["top1"] for summary in runs]
    assert [summary["seed"] for summary in runs] == [0, 3]
    assert found["mean"] == pytest.approx(sum(found["top1"]) / 2)
    assert "over seeds [0, 3]" in out
    assert run(*command)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds=0,0"], "expected different whole numbers"),
        (["--seeds=1", "--seed=1"], "and no --seed"),
        (["--seeds="], "expected different whole numbers"),
        (["--updates=2", "--steps=3"], "past the end of --updates=2"),
        (["--width=0"], "--width=0"),
        (["--method=vfbn", "--gradient_weight=0"], "vfbn critics learn from nothing"),
        (["--together=3", "--steps=4", "--evaluations=1"], "--together=3 does not divide the 4"),
        (["--placement=stages", "--strategy=mirrored"], "takes no --strategy"),
        (["--placement=stages", "--splits=1", "--gradient_target=true"], "full backpropagation"),
        (["--dataset=cifar11"], "no data set 'cifar11'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, run, tmp_path):
    given = [*TINY, f"--workdir={tmp_path}", *arguments]
    code, _, err = run(*given)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
