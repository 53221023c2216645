"""The main script in a tiny configuration, and its errors.

Tracing ResNet50 takes half a minute, so a small net with its layers' names stands in by default.
"""

import csv
import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.cases import slow
from train import imagenet
from train.lib.images import datasets, optimizer, shapes
from train.lib.run import old_flags, run_folder, schedule
from train.lib.run.errors import UsageError

TINY = ["--dataset=shapes", "--strategy=none", "--batch_size=4", "--image_size=32"]


def small_net(image_size, classes):
    h = inputs = keras.Input([image_size, image_size, 3])
    for k, name in enumerate(imagenet.CUTS[3]):
        h = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(h)
        h = keras.layers.BatchNormalization(name=f"conv{k}_3_bn")(h)
        h = keras.layers.ReLU(name=name)(h)
    h = keras.layers.GlobalAveragePooling2D()(h)
    return keras.Model(inputs, keras.layers.Dense(classes)(h), name="resnet50")


@pytest.fixture
def run(monkeypatch, run_script):
    monkeypatch.setattr(shapes, "SIZES", {"train": 64, "validation": 8})
    return functools.partial(run_script, imagenet)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(imagenet, "resnet50", small_net)


@pytest.fixture(params=["small net", *slow("ResNet50")])
def net(request):
    if request.param == "small net":
        request.getfixturevalue("small")


@pytest.mark.usefixtures("net")
def test_a_run_ends_with_tables_figure_and_a_checked_saved_model(run, tmp_path):
    code, out, err = run(*TINY, "--steps=2", "--num_evals=2", f"--workdir={tmp_path}")
    assert code == 0, err
    assert out.count("DRAWN IMAGES: these are ten classes") == 2
    for name in (
        "cut1 (conv2_block3_out)",
        "val_accuracy",
        "chance",
        "step 2/2",
        "10.0 %",
        "steps/s",
    ):
        assert name in out
    with open(tmp_path / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["splits"] == 3
    assert summary["method"] == "sobolev"
    assert summary["top1"] == float(rows[-1]["val_accuracy"])
    headline = {"name": "val_accuracy", "value": summary["top1"], "unit": "share"}
    assert summary["headline"] == headline
    assert list(summary)[:6] == ["script", "what", "headline", "seconds", "commit", "versions"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["flags"]["splits"] == 3
    assert "DRAWN" in summary["dataset"]["notice"]
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    saved = tf.saved_model.load(str(tmp_path / "saved_model"))
    [logits] = saved.signatures["serving_default"](tf.zeros([2, 32, 32, 3])).values()
    assert logits.shape == (2, 10)

    left = tmp_path / "saved_model.new-0123abcd"  # by a kill in the middle of the export
    left.mkdir()
    code, out, err = run(*TINY, "--steps=2", "--num_evals=2", f"--workdir={tmp_path}")
    assert code == 0, err
    assert "all 2 steps are done" in out
    assert not left.exists()

    (tmp_path / "metrics.csv").unlink()
    code, _, err = run(*TINY, "--steps=2", "--num_evals=2", f"--workdir={tmp_path}")
    assert code == 2
    assert "metrics.csv ends at step 0" in err


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_no_cut_is_plain_training(run, tmp_path):
    code, out, err = run(*TINY, "--splits=0", "--steps=1", f"--workdir={tmp_path}")
    assert code == 0, err
    assert "cosine" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cuts=conv9_out"], "no layer named 'conv9_out' in 'resnet50'"),
        (["--cuts=conv3_block4_out,conv2_block3_out"], "cuts are out of order"),
        (["--cuts=conv3_block1_1_relu"], "crosses the cut at 'conv3_block1_1_relu'"),
        (["--cuts=conv3_block4_out", "--splits=1"], "--cuts and --splits both say"),
        (["--learning_rate=nan"], "--learning_rate=nan: expected a finite number"),
        (["--splits=2"], "--splits=2: expected 0 or 1 or 3"),
        (["--dataset=nowhere"], "no data set 'nowhere'"),
        (["--method=magic"], "expected sobolev"),
        (["--steps=2", "--epochs=1"], "give one of them"),
        (["--epochs=1", "--num_evals=2"], "--num_evals is not for --epochs, which has an evalu"),
        (["--image_size=16"], "--image_size=16"),
        (["--batch_sise=4"], "--batch_sise is unknown: did you mean --batch_size?"),
        (["--devices=2"], "--devices=2 is for --strategy=mirrored"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, run, tmp_path):
    code, _, err = run("--strategy=none", "--dataset=shapes", f"--workdir={tmp_path}", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] in ([], [".lock"])
    run_folder.Run(tmp_path, {"another": "command"}).close()


def test_colors_of_shapes_that_stand_in_for_imagenet_are_not_distorted(run, tmp_path):
    (tmp_path / "data").mkdir()
    code, _, err = run("--strategy=none", "--color_distortion", f"--data_dir={tmp_path / 'data'}")
    assert (code, err.count("\n")) == (2, 1)
    assert "--color_distortion is for data sets that TFDS has prepared, not for shapes" in err


def test_a_flag_that_is_typed_goes_before_the_preset_and_others_are_its(run, monkeypatch):
    seen = []
    monkeypatch.setattr(imagenet, "train", lambda settings, *_: seen.append(settings))
    run("--strategy=none", "--residual_gamma_init=0.5")
    [settings] = seen
    assert (settings.splits, settings.residual_gamma_init, settings.bn_momentum) == (3, 0.5, 0.9)


@pytest.mark.usefixtures("small")
def test_a_run_folder_of_old_flags_is_resumed(run, tmp_path):
    command = [*TINY, "--splits=1", "--steps=1", "--num_evals=1", f"--workdir={tmp_path}"]
    code, _, err = run(*command)
    assert code == 0, err
    config = json.loads((tmp_path / "config.json").read_text())
    old_names = {new: old for old, new in old_flags.NAMES["imagenet"].items()}
    stored = {old_names.get(name, name): value for name, value in config["flags"].items()}
    del stored["devices"]
    stored |= {"splits": "1", "selection": False, "jit": stored.pop("jit_compile")}
    (tmp_path / "config.json").write_text(json.dumps(config | {"flags": stored}))
    (tmp_path / "summary.json").unlink()
    code, out, err = run(*command)
    assert code == 0, err
    assert "all 1 steps are done" in out
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 1


@pytest.mark.usefixtures("small")
def test_a_loss_that_is_not_finite_stops_the_run(run, tmp_path):
    arguments = [
        "--splits=0",
        "--residual_gamma_init=1",
        "--optimizer=sgd",
        "--learning_rate=1e30",
        "--steps=6",
        "--num_evals=1",
    ]
    code, _, err = run(*TINY, *arguments, f"--workdir={tmp_path}")
    assert code == 1
    assert "loss is not finite" in err
    assert not (tmp_path / "summary.json").exists()
    for path in (tmp_path / "checkpoints").glob("*.npz"):
        with np.load(path) as state:
            assert all(np.isfinite(state[name]).all() for name in state.files if "model/" in name)


@pytest.mark.parametrize(("preset", "color_distortion"), [("small", False), ("paper", True)])
def test_only_the_papers_recipe_distorts_colors(
    run, tmp_path, monkeypatch, preset, color_distortion
):
    def load(name, **options):
        raise UsageError(f"color_distortion={options['color_distortion']}")

    monkeypatch.setattr(datasets, "load", load)
    arguments = [f"--preset={preset}", "--strategy=none", "--dataset=x"]
    assert f"color_distortion={color_distortion}" in run(*arguments, f"--workdir={tmp_path}")[2]


@pytest.mark.parametrize(("typed", "expected"), [([], "auto"), (["--augmentation=flip"], "flip")])
def test_augmentation_may_be_chosen(run, tmp_path, monkeypatch, typed, expected):
    def load(name, **options):
        raise UsageError(f"augmentation={options['augmentation']}")

    monkeypatch.setattr(datasets, "load", load)
    arguments = ["--strategy=none", "--dataset=x", *typed]
    assert f"augmentation={expected}" in run(*arguments, f"--workdir={tmp_path}")[2]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--steps=6", "--num_evals=2000000000"], (6, 1, 6)),
        (["--steps=6", "--num_evals=4"], (3, 2, 6)),
        (["--steps=6", "--schedule_steps=60", "--num_evals=1"], (1, 6, 60)),
        (["--schedule_steps=60", "--num_evals=2"], (2, 30, 60)),
        (["--epochs=2"], (2, 16, 32)),
        (["--epochs=2", "--schedule_steps=60"], (2, 16, 60)),
    ],
)
def test_length_in_epochs_steps_and_updates(arguments, expected, run, tmp_path, monkeypatch):
    def stop(settings, schedule_steps, drops):
        raise UsageError(f"{(*schedule.length(settings, 16), schedule_steps)}")

    monkeypatch.setattr(imagenet, "resnet50", small_net)
    monkeypatch.setattr(optimizer, "learning_rate", stop)
    _, _, err = run(*TINY, *arguments, f"--workdir={tmp_path}")
    assert str((*expected, expected[-1])) in err


@pytest.mark.slow
def test_ten_kills_of_the_main_job_end_with_the_same_weights(killed_and_whole):
    """kill -9 at random moments, of start-up, training, saving, evaluation and export."""
    command = ["train.imagenet", "--dataset=shapes", "--deterministic", "--batch_size=4"]
    command += ["--steps=60", "--num_evals=1", "--save_minutes=0.02"]
    states = []
    for folder in killed_and_whole(command, kills=10):
        with np.load(max((folder / "checkpoints").glob("*.npz"))) as archive:
            states.append({k: archive[k] for k in archive.files if not k.endswith(".json")})
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], err_msg=name)
