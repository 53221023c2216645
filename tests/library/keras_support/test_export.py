"""export: a SavedModel that TensorFlow alone can ask for values and derivatives."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import SobolevModel, nets
from sobolev_tf.keras_support import directories

READER = """
import sys
sys.modules["keras"] = sys.modules["sobolev_tf"] = None  # TensorFlow alone
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
x = tf.constant(np.load(sys.argv[2]))
answer = lambda name, **kw: {k: v.numpy() for k, v in loaded.signatures[name](**kw).items()}
out = {"values": answer("serving_default", x=x)["value"], **answer("jet", x=x)}
out["jvp"] = answer("jvp", x=x, v=2 * x)["jvp"]
out["vjp"] = answer("vjp", x=x, u=tf.ones([len(x), 2]))["vjp"]
assert loaded.signatures["jet"](x=x[:1])["d1"].shape == [1, 2, 3]
np.savez(sys.argv[3], **out)
"""


def test_a_fresh_process_gets_the_same_values_and_derivatives(tmp_path, capfd):
    model = SobolevModel(nets.mlp(3, 2, hidden=[8], activation="tanh"), order=2)
    x = np.random.default_rng(0).normal(size=[5, 3]).astype("f")
    np.save(tmp_path / "x.npy", x)
    model.export(tmp_path / "saved")
    assert capfd.readouterr() == ("", "")
    command = [sys.executable, "-c", READER]
    paths = [str(tmp_path / name) for name in ("saved", "x.npy", "out.npz")]
    done = subprocess.run(command + paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    jet, out = model.predict_jet(x), np.load(tmp_path / "out.npz")
    expected = {
        "values": jet.value,
        "value": jet.value,
        "d1": jet.derivatives[0],
        "d2": jet.derivatives[1],
        "jvp": np.einsum("bki,bi->bk", jet.derivatives[0], 2 * x),
        "vjp": jet.derivatives[0].sum(1),
    }
    for name, answer in expected.items():
        np.testing.assert_allclose(out[name], answer, rtol=1e-5, atol=1e-6, err_msg=name)


def test_export_replaces_a_saved_model_but_nothing_else(tmp_path):
    model = SobolevModel(nets.mlp(1, hidden=[2]))
    for _ in range(2):
        model.export(tmp_path / "saved")
    tf.saved_model.load(str(tmp_path / "saved"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="not a SavedModel"):
        model.export(tmp_path / "mine")
    with pytest.raises(OSError, match="disk full"):
        fail_while_writing(tmp_path / "saved")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "saved"]


def test_what_was_there_stays(tmp_path, monkeypatch):
    saved, rename = tmp_path / "saved", os.rename
    saved.mkdir()
    (saved / "saved_model.pb").write_text("older")

    def fail_on_new(source, destination):
        if ".new-" in source:
            raise OSError("disk full")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", fail_on_new)
    with pytest.raises(OSError, match="disk full"), directories.replaced_directory(saved) as new:
        os.mkdir(new)
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]
    assert (saved / "saved_model.pb").read_text() == "older"
    (saved / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="not a SavedModel"), directories.replaced_directory(saved):
        pass


def test_what_a_kill_left_is_removed(tmp_path):
    saved, others = tmp_path / "saved", [tmp_path / "saved.new", tmp_path / "unsaved.new-1"]
    for other in others:
        other.mkdir()
    with directories.replaced_directory(saved) as new:
        os.mkdir(new)
        shutil.copytree(new, copy := new + "0")  # of the same name, as far as patterns go
    directories.remove_leftovers(saved)
    assert not os.path.exists(copy)
    assert sorted(tmp_path.iterdir()) == sorted([saved, *others])


class Killed(BaseException):
    """The end of a process: nothing that it would do afterwards happens."""


def write(folder, text):
    os.mkdir(folder)
    Path(folder, "saved_model.pb").write_text(text)


def replace_until_killed(saved, text, monkeypatch, renames):
    """Write a directory of one file in the place of another; die after so many renames."""
    rename, done = os.rename, []

    def until_killed(function):
        def call(*args, **kwargs):
            if len(done) == renames:
                raise Killed
            if function is rename:
                done.append(args)
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", until_killed(rename))
        patch.setattr(shutil, "rmtree", until_killed(shutil.rmtree))
        with pytest.raises(Killed), directories.replaced_directory(saved) as new:
            write(new, text)


def only_text_in(folder, saved):
    directories.remove_leftovers(saved)
    assert [p.name for p in folder.iterdir()] == [saved.name]
    return (saved / "saved_model.pb").read_text()


def test_what_a_kill_between_the_renames_moved_is_put_back(tmp_path, monkeypatch):
    saved = tmp_path / "saved"
    replace_until_killed(saved, "first", monkeypatch, renames=1)  # the only one: nothing was there
    replace_until_killed(saved, "second", monkeypatch, renames=1)
    assert not saved.exists()
    assert only_text_in(tmp_path, saved) == "first"


def test_of_several_kills_the_last_directory_is_put_back(tmp_path, monkeypatch):
    saved = tmp_path / "saved"
    for text in ("first", "second", "third", "fourth"):
        replace_until_killed(saved, text, monkeypatch, renames=1)
    assert len(list(tmp_path.iterdir())) == 4
    assert only_text_in(tmp_path, saved) == "third"


def test_what_a_kill_after_the_renames_left_is_removed(tmp_path, monkeypatch):
    saved = tmp_path / "saved"
    replace_until_killed(saved, "first", monkeypatch, renames=1)
    replace_until_killed(saved, "second", monkeypatch, renames=2)
    assert len(list(tmp_path.iterdir())) == 2
    assert only_text_in(tmp_path, saved) == "second"


def test_an_interrupt_between_the_renames_loses_nothing(tmp_path, monkeypatch):
    saved, rename = tmp_path / "saved", os.rename
    saved.mkdir()

    def interrupted(source, destination):
        if ".new-" in source:
            raise KeyboardInterrupt
        rename(source, destination)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), directories.replaced_directory(saved) as new:
        os.mkdir(new)
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]


def fail_while_writing(path):
    with directories.replaced_directory(path) as new:
        tf.io.gfile.mkdir(new)
        raise OSError("disk full")


def test_an_unbuilt_model_says_so(tmp_path):
    with pytest.raises(ValueError, match="built model"):
        SobolevModel(keras.Sequential([keras.layers.Dense(1)])).export(tmp_path / "saved")


@pytest.mark.slow
def test_saved_model_cli_runs_what_was_trained_in_half_precision_under_xla(tmp_path):
    x = np.random.default_rng(0).uniform(-100, 100, [64, 2]).astype("f")
    y, dy = 1e3 * np.sum(x, 1, keepdims=True), np.full([64, 1, 2], 1e3, "f")
    half = keras.Sequential(
        [
            keras.Input([2]),
            keras.layers.Dense(8, "tanh", dtype="mixed_float16"),
            keras.layers.Dense(1),
        ]
    )
    model = SobolevModel(half)
    model.adapt(x, (y, dy))
    model.compile("adam", jit_compile=True, steps_per_execution=2)
    model.fit(x, (y, dy), verbose=0)
    np.savez(tmp_path / "in.npz", x=x, v=np.ones_like(x), u=np.ones_like(y))
    model.export(tmp_path / "saved")
    jet = model.predict_jet(x)
    expected = {
        "serving_default": {"value": jet.value},
        "jet": {"value": jet.value, "d1": jet.derivatives[0]},
        "jvp": {"value": jet.value, "jvp": jet.derivatives[0].sum(2)},
        "vjp": {"value": jet.value, "vjp": jet.derivatives[0][:, 0]},
    }
    takes = {"jvp": ["x", "v"], "vjp": ["x", "u"]}
    for signature, answers in expected.items():
        arguments = ["--dir", tmp_path / "saved", "--tag_set", "serve", "--overwrite"]
        arguments += ["--signature_def", signature, "--outdir", tmp_path / signature]
        inputs = [f"{name}={tmp_path}/in.npz[{name}]" for name in takes.get(signature, ["x"])]
        cli = shutil.which("saved_model_cli", path=os.path.dirname(sys.executable))
        command = [cli, "run", *map(str, arguments), "--inputs", ";".join(inputs)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for name, answer in answers.items():
            out = np.load(tmp_path / signature / f"{name}.npy")
            np.testing.assert_allclose(out, answer, rtol=0.02, atol=2, err_msg=name)
