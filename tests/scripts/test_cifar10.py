"""The CIFAR-10 script in a tiny configuration, every method, several seeds."""

import functools
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest

import sobolev_tf as st
from tests.support.cases import slow
from train import cifar10, imagenet
from train.lib.images import critic_flags, pixel_baseline, shapes
from train.lib.run import cli

TINY = ["--dataset=shapes", "--strategy=none", "--batch_size=4", "--width_multiplier=0.03"]
CRITICS = {
    "gradient_loss": "l1",
    "gradient_weight": 1.0,
    "label_weight": 0.0,
    "critic_updates": "sequential_async",
    "derivative_share": 1.0,
}
ROOT = Path(__file__).parent.parent.parent


def small_net(classes, width=1.0, size=32):
    h = inputs = keras.Input([size, size, 3])
    for name in cifar10.CUTS[3]:
        h = keras.layers.Conv2D(2, 3, strides=2, activation="relu", name=name)(h)
    h = keras.layers.Flatten()(h)
    return keras.Model(inputs, keras.layers.Dense(classes)(h))


def run_small():
    """The script in a process of its own, with the small net and few images."""
    shapes.SIZES.update(train=64, validation=8)
    st.nets.cifar10 = small_net
    cli.run(cifar10.main, cifar10.FLAGS, cifar10.PRESETS)


@pytest.fixture
def run(monkeypatch, run_script):
    """With a small net of the same names: tracing the paper's takes most of a minute."""
    monkeypatch.setattr(shapes, "SIZES", {"train": 64, "validation": 8})
    monkeypatch.setattr(st.nets, "cifar10", small_net)
    return functools.partial(run_script, cifar10)


@pytest.fixture
def settings_of(run_script, monkeypatch):
    """Return the settings of a command, without running it."""

    def call(*arguments):
        seen = []
        monkeypatch.setattr(cifar10, "train", lambda settings, *_: seen.append(settings))
        assert run_script(cifar10, "--strategy=none", *arguments)[0] == 0
        return seen[0]

    return call


@pytest.mark.parametrize("method", [*slow("direct"), "sobolev"])
def test_a_cell_of_table_1(method, run, tmp_path):
    length = ["--schedule_steps=8", "--steps=2", "--num_evals=1"]
    code, out, err = run(*TINY, f"--method={method}", *length, f"--workdir={tmp_path}")
    assert code == 0, err
    assert "conv8_out" in out
    assert f" -m train.plot {tmp_path} RUN\n" in out
    header = re.search(r"^ .*cosine.*$", out, re.MULTILINE)[0].split()
    assert ("accuracy" in header) == (method == "sobolev")
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 2


@pytest.mark.parametrize(
    ("flags", "channels"),
    [
        (["--width_multiplier=0.25"], 32),
        (["--width_multiplier=0.25", "--critic_width_multiplier=1"], 128),
        (["--preset=paper"], 128),
        (["--critic_width_multiplier=0.0078125"], 1),
    ],
)
@pytest.mark.parametrize("method", ["direct", "vfbn"])
def test_critics_are_as_wide_as_the_net(method, flags, channels, settings_of):
    built = cifar10.make_critic(settings_of(f"--method={method}", *flags))((8, 8, 4), 10)
    first = next(layer for layer in built.layers if isinstance(layer, keras.layers.Conv2D))
    assert first.filters == channels


@pytest.mark.parametrize("start", ["zeros", "glorot_uniform"])
def test_direct_modules_start_at_zero_or_as_direct_init_says(start, settings_of):
    settings = settings_of("--method=direct", f"--direct_init={start}")
    built = cifar10.make_critic(settings)((8, 8, 4), 10)
    gradient = built([np.ones([2, 8, 8, 4], "f"), np.eye(10, dtype="f")[:2]])
    assert (np.abs(gradient).max() == 0) == (start == "zeros")


def test_flags_say_what_critics_lower(settings_of, monkeypatch):
    monkeypatch.setattr(st.nets, "cifar10", small_net)
    size = types.SimpleNamespace(image_size=32, num_classes=10)
    relative = ["--gradient_loss=relative", "--gradient_weight=0.1", "--derivative_share=0.5"]
    for flags, loss, weight, over, share in (
        ([], st.losses.L1Norm, 1.0, "sum", 1.0),
        (["--gradient_loss=mae"], st.losses.L1Norm, 1.0, "mean", 1.0),
        (relative, st.losses.RelativeNorm, 0.1, None, 0.5),
    ):
        model = cifar10.build_model(settings_of(*flags), size, cifar10.CUTS[1], 10)
        config = model.get_compile_config()
        gradient_loss = config["critic_losses"][1]
        assert gradient_loss["class_name"] == loss.__name__
        assert gradient_loss["config"].get("over") == over
        assert config["critic_loss_weights"] == [1.0, weight]
        assert config["derivative_share"] == share
        assert (config["critic_steps"], config["critic_batch"]) == (1, None)


@pytest.mark.parametrize(("script", "workers"), [(cifar10, 10), (imagenet, 34)])
def test_paper_s_critics_take_an_update_of_32_images_for_each_worker(script, workers):
    paper = script.PRESETS["paper"]
    assert (paper["critic_steps"], paper["critic_batch"]) == (workers, 32)
    assert paper["batch_size"] == workers * 32
    options = critic_flags.compile_options(types.SimpleNamespace(**CRITICS | paper))
    assert (options["critic_steps"], options["critic_batch"]) == (workers, 32)


def test_paper_crops_and_flips():
    assert cifar10.PRESETS["paper"]["augmentation"] == "pad_crop"


@pytest.mark.slow
def test_a_baseline_that_fails_does_not_lose_the_summary(run, tmp_path, monkeypatch):
    plain, baselines = pixel_baseline.pixel_baseline, []
    command = [*TINY, "--splits=0", "--steps=1", f"--workdir={tmp_path}"]
    for examples, expected in ((10**12, 2), (8, 0), (None, 0)):
        fit = functools.partial(plain, examples=examples)
        monkeypatch.setattr(pixel_baseline, "pixel_baseline", fit)
        code, _, err = run(*command, f"--pixel_baseline={examples is not None}")
        assert code == expected, err
        assert ("out of memory" in err) == (code == 2)
        baselines.append(json.loads((tmp_path / "summary.json").read_text())["baselines"])
    assert list(baselines[0]) == ["chance"]
    assert list(baselines[1]) == ["chance", "logistic regression on pixels"]
    assert baselines[2] == baselines[1]  # without the flag, what was measured before


@pytest.mark.slow
def test_stages_are_trained_on_devices_of_their_own(run, tmp_path):
    tiny = [flag for flag in TINY if "strategy" not in flag]
    length = ["--splits=1", "--steps=4", "--steps_per_execution=2", "--num_evals=2"]
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
    seeds = json.loads((tmp_path / "seeds.json").read_text())
    runs = [json.loads((tmp_path / f"seed{k}" / "summary.json").read_text()) for k in (0, 3)]
    assert seeds["top1"] == [summary["top1"] for summary in runs]
    assert [summary["seed"] for summary in runs] == [0, 3]
    assert seeds["mean"] == pytest.approx(sum(seeds["top1"]) / 2)
    assert "over seeds [0, 3]" in out
    assert "val_accuracy" in out
    assert run(*command)[0] == 0


def test_seeds_of_other_flags_are_not_mixed(run, tmp_path):
    flags = cifar10.FLAGS.flag_values_dict() | {"batch_size": 8}
    config = {"format": 1, "script": "cifar10", "flags": flags}
    (tmp_path / "seed0").mkdir()
    (tmp_path / "seed0" / "config.json").write_text(json.dumps(config))
    code, _, err = run(*TINY, "--method=noprop", "--seeds=1", f"--workdir={tmp_path}")
    assert (code, err.count("\n")) == (2, 1)
    assert "was started with other flags (" in err
    assert "--batch_size was 8, now 4" in err
    assert [path.name for path in tmp_path.iterdir()] == ["seed0"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("config.json", "is one run, and --seeds makes several"), ("seeds.json/", "is a folder")],
)
def test_seeds_start_only_where_their_results_have_a_place(name, message, run, tmp_path):
    place = tmp_path / name
    place.mkdir() if name.endswith("/") else place.write_text("{}")
    code, _, err = run(*TINY, "--method=noprop", "--seeds=0,1", f"--workdir={tmp_path}")
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data_dir=."], "--dataset=shapes is drawn, not read from --data_dir"),
        (["--seeds=0,0"], "expected different whole numbers"),
        (["--seeds=1", "--seed=1"], "and no --seed"),
        (["--seeds="], "expected different whole numbers"),
        (["--schedule_steps=2", "--steps=3"], "--steps=3 is past the end of --schedule_steps=2"),
        (["--schedule_steps=2", "--epochs=1"], "steps, is past the end of --schedule_steps=2"),
        (["--width_multiplier=0"], "--width_multiplier=0"),
        (["--method=vfbn", "--gradient_weight=0"], "vfbn critics learn from nothing"),
        (
            ["--steps_per_execution=3", "--steps=4", "--num_evals=1"],
            "--steps_per_execution=3 does not divide the 4",
        ),
        (["--placement=stages", "--strategy=mirrored"], "takes no --strategy"),
        (["--placement=stages", "--devices=2"], "and no --devices"),
        (["--devices=3", "--strategy=mirrored"], "--devices=3: there are only 2 devices"),
        (["--placement=stages", "--splits=1", "--gradient_target=true"], "full backpropagation"),
        (["--dataset=cifar11"], "no data set 'cifar11'"),
        (["--dataset="], "--dataset= is empty: give it a value"),
        (["--augmentation=flip"], "--augmentation is for data sets that TFDS has prepared"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, run, tmp_path):
    flags = [*TINY, f"--workdir={tmp_path}", *arguments]
    code, _, err = run(*flags)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_events_for_tensorboard_are_in_the_run_folder(run, tmp_path):
    length = ["--splits=0", "--steps=2", "--num_evals=1"]
    code, _, err = run(*TINY, *length, "--tensorboard", f"--workdir={tmp_path}")
    assert code == 0, err
    assert list((tmp_path / "tensorboard" / "validation").glob("events.out.tfevents.*"))


@pytest.mark.slow
def test_four_logical_devices_are_four_replicas(tmp_path):
    """In a process of its own: here the CPU is two logical devices already."""
    code = "from tests.scripts.test_cifar10 import run_small; run_small()"
    command = [sys.executable, "-c", code, "--strategy=mirrored", "--devices=4", "--splits=1"]
    command += ["--dataset=shapes", "--batch_size=4", "--steps=1", f"--workdir={tmp_path}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "4 replica(s)" in ended.stdout
    assert json.loads((tmp_path / "config.json").read_text())["facts"]["replicas"] == 4
