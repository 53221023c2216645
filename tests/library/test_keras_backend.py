"""Another backend of Keras is refused at import, in one line that says what to set."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("backend", ["jax", "numpy", "torch"])
def test_another_backend_is_refused_in_one_line(backend):
    env = os.environ | {"KERAS_BACKEND": backend}
    command = [sys.executable, "-c", "import sobolev_tf"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: sobolev_tf needs Keras's TensorFlow backend")
    assert backend in last
    assert "KERAS_BACKEND=tensorflow" in last
