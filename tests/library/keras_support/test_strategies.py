"""Two workers on this machine take one process's steps."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st

SCRIPT = Path(__file__).parents[2] / "support" / "workers.py"


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def start(path, config=None):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    environment["PYTHONPATH"] = str(SCRIPT.parents[2])
    if config:
        environment["TF_CONFIG"] = json.dumps(config)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path)], env=environment, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_two_workers_end_with_one_process_s_weights(tmp_path):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": i}} for i in range(2)]
    runs = [start(tmp_path / f"{i}.npz", config) for i, config in enumerate([*tasks, None])]
    for run in runs:
        _, errors = run.communicate(timeout=240)
        assert run.returncode == 0, errors[-2000:]
    first, second, alone = (dict(np.load(tmp_path / f"{i}.npz")) for i in range(3))
    assert set(first) == set(alone)
    assert len(first) > 12
    for name, expected in alone.items():
        if "cut1" in name and "val" not in name and name.split("_")[-1] in ("cosine", "ratio"):
            continue  # of a whole batch: not a mean of its parts
        np.testing.assert_allclose(first[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)
        if "/" in name and name.split("/")[1].isdigit():
            np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("rows", [1, 33])
def test_replicas_may_have_shares_of_any_size(two_replicas, rows):
    rng = np.random.default_rng(0)
    x = rng.normal(size=[rows, 3]).astype("float32")
    with two_replicas.scope():
        model = st.SobolevModel(st.nets.mlp(3, hidden=[8], activation="tanh"))
        model.compile(keras.optimizers.SGD(0.1))
    before = model.net.get_weights()
    labels = np.sin(x).sum(1, keepdims=True), np.cos(x)[:, None]
    history = model.fit(x, labels, batch_size=rows, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    assert all((a != b).any() for a, b in zip(before, model.net.get_weights(), strict=True))


def test_several_steps_an_execution_on_two_replicas_end_in_one_line(two_replicas):
    """Keras's loop over the steps fails with 2 root errors about a placeholder."""
    with two_replicas.scope():
        model = st.SobolevModel(st.nets.mlp(2, hidden=[4]))
        model.compile("sgd", steps_per_execution=2)
    x = np.ones([8, 2], "float32")
    data = tf.data.Dataset.from_tensor_slices((x, (x[:, :1], x[:, None]))).batch(4)
    with pytest.raises(ValueError, match=r"^SobolevModel.fit: Keras cannot .* several replicas\."):
        model.fit(data, verbose=0)


def test_two_replicas_report_and_learn_as_one_device(two_replicas):
    """Metrics that are no means, such as rmse, are those of all examples."""
    rng = np.random.default_rng(0)
    x, y, dy = (rng.normal(size=s).astype("float32") for s in ([9, 2], [9, 1], [9, 1, 2]))
    dy[:3] = np.nan  # most of the first replica's share
    weights = rng.uniform(0, 2, 9).astype("float32")

    def run():
        keras.utils.set_random_seed(0)
        model = st.SobolevModel(st.nets.mlp(2, hidden=[4], activation="tanh"))
        settings = {"missing": "nan", "mean_over": "present", "jet_metrics": ["rmse", "r2"]}
        model.compile(keras.optimizers.SGD(0.1), weighted_metrics=["mae"], **settings)
        first = model.evaluate(x, (y, dy), 8, 0, weights, return_dict=True)  # then a lone row
        even = {"x": x[:8], "y": (y[:8], dy[:8]), "sample_weight": weights[:8]}
        history = model.fit(**even, batch_size=8, epochs=2, verbose=0).history
        logs = {f"first_{name}": value for name, value in first.items()} | history
        return logs, model.net.get_weights()

    logs, trained = run()
    with two_replicas.scope():
        shared_logs, shared = run()
    assert set(logs) == set(shared_logs) >= {"first_d1_rmse", "d1_r2", "mae"}
    for name, expected in logs.items():
        np.testing.assert_allclose(shared_logs[name], expected, rtol=1e-5, err_msg=name)
    for got, expected in zip(shared, trained, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_r2_of_a_teachers_gradients_beside_stored_logits_on_two_replicas(two_replicas):
    x = np.random.default_rng(0).normal(size=[8, 2]).astype("float32")
    with two_replicas.scope():
        nets = [keras.Sequential([keras.Input([2]), keras.layers.Dense(3)]) for _ in range(2)]
        nets[0].set_weights(nets[1].get_weights())  # replicas draw directions of their own
        model = st.PolicyDistiller(*nets, seed=0)
        model.compile(keras.optimizers.SGD(0.0), jet_metrics="r2")
        logs = model.fit(x, x @ np.ones([2, 3], "float32"), verbose=0).history
    np.testing.assert_allclose(logs["d1_r2"], 1)
