"""Settings of Keras that a user may have made for other work."""

import json
import os
import subprocess
import sys

import pytest

from train.lib.run import keras_settings

CODE = "import train, keras; print(keras.backend.backend(), keras.config.floatx(), \
keras.config.image_data_format(), keras.config.epsilon(), keras.config.dtype_policy().name)"


def test_a_user_s_keras_json_does_not_reach_the_scripts(tmp_path):
    other = {
        "floatx": "float64",
        "epsilon": 0.5,
        "backend": "jax",
        "image_data_format": "channels_first",
    }
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(other))
    environment = os.environ | {"HOME": str(tmp_path), "KERAS_BACKEND": "jax"}
    environment.pop("KERAS_HOME", None)
    printed = subprocess.check_output([sys.executable, "-c", CODE], env=environment, text=True)
    assert printed.split() == ["tensorflow", "float32", "channels_last", "1e-07", "float32"]


@pytest.mark.parametrize("backend", ["nonsense", "gtk3agg", ""])
def test_backends_of_the_environment_play_no_part(backend, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", backend)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    keras_settings.before_import()
    assert (os.environ["MPLBACKEND"], os.environ["KERAS_BACKEND"]) == ("agg", "tensorflow")
