"""Workers that take each step together: their TF_CONFIG, and what they exchange."""

import json

import numpy as np
import pytest
import tensorflow as tf

from train import cifar10, imagenet
from train.lib.run import tf_config, tf_servers, workers
from train.lib.run.errors import CommandError


def config(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize("script", [cifar10, imagenet])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        config({"ps": ["a:1"]}, "ps"),
        config({"worker": ["a:1"], "ps": ["b:1"]}),
        config({"worker": ["a:1"]}, "chief"),
        config({"worker": ["a:1"], "chief": ["b:1", "c:1"]}),
        config({"worker": ["a:1", "a:1"]}),
        config({"worker": ["a:1"]}, index=1),
    ],
)
def test_a_tf_config_that_cannot_be_is_one_line(script, text, run_script, monkeypatch, tmp_path):
    monkeypatch.setenv("TF_CONFIG", text)
    code, _, err = run_script(script, "--strategy=multi_worker", f"--workdir={tmp_path / 'run'}")
    assert (code, err.count("\n")) == (2, 1)
    assert "--strategy=multi_worker: expected TF_CONFIG with addresses of worker" in err
    assert not (tmp_path / "run").exists()


def test_a_worker_that_never_comes_is_one_line(run_script, monkeypatch, tmp_path):
    addresses = tf_servers.free_addresses(2)
    monkeypatch.setattr(workers, "WAIT", 0.1)
    for index, absent in ((0, "worker 1"), (1, "worker 0")):
        monkeypatch.setenv("TF_CONFIG", config({"worker": addresses}, index=index))
        code, _, err = run_script(cifar10, "--strategy=multi_worker", f"--workdir={tmp_path / 'r'}")
        assert (code, err.count("\n")) == (2, 1)
        assert f"{absent} of TF_CONFIG ({addresses[1 - index]}) has not come after 0.1 s" in err
    assert not (tmp_path / "r").exists()


def test_devices_are_not_for_workers(run_script):
    code, _, err = run_script(cifar10, "--strategy=multi_worker", "--devices=2")
    assert code == 2
    assert "--devices=2 is for --strategy=mirrored, not multi_worker" in err


def test_xla_is_not_for_workers_without_gpus(run_script):
    code, _, err = run_script(cifar10, "--strategy=multi_worker", "--jit_compile")
    assert (code, err.count("\n")) == (2, 1)
    assert "--jit_compile: XLA exchanges nothing between workers' CPUs" in err


def test_the_chief_comes_first():
    cluster = {"worker": ["a:1", "b:1"], "chief": ["c:1"]}
    read = tf_config.workers(config(cluster, index=1))
    assert read == (("chief 0", "worker 0", "worker 1"), ("c:1", "a:1", "b:1"), 2)
    assert tf_config.workers(config(cluster, "chief")).rank == 0


class Peer:
    """Stands in for a strategy of two workers, of which the other one says the same as this one."""

    def reduce(self, operation, value, axis):
        assert operation == "SUM"
        return 2 * value if self.same else value

    def __init__(self, same):
        self.same = same


@pytest.fixture
def second_of_two(monkeypatch):
    monkeypatch.setattr(workers, "are_several", lambda strategy: True)
    monkeypatch.setattr(workers, "place", lambda strategy: (1, 2))


@pytest.mark.parametrize(
    "kind", [np.float32, np.float64, np.uint32, np.int64, np.bool_, np.float16]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 5)])
def test_arrays_of_any_kind_are_gathered_bit_for_bit(kind, shape, second_of_two):
    array = np.random.default_rng(0).normal(size=shape).astype(kind)
    if array.size and kind == np.float32:
        array.flat[0] = np.nan
    rows = workers.gather(Peer(same=False), array)
    assert rows.dtype == array.dtype
    assert rows[1].tobytes() == array.tobytes()
    assert not rows[0].any()


def test_what_all_agree_on_is_not_sent(monkeypatch):
    sent = []

    def gather(strategy, array):
        sent.append(array.shape)
        other = array + 1 if array.dtype == np.float32 else array * [1, 2]
        return np.stack([array, other])

    monkeypatch.setattr(workers, "are_several", lambda strategy: True)
    monkeypatch.setattr(workers, "gather", gather)
    here = {"weight": [np.zeros(3, np.float32)], "mean": [np.ones(2, np.float32)]}
    copies = workers.everywhere(None, here)
    assert sent == [(2,), (1, 2)]  # the digests, of which the second differs, and that array
    assert len(copies["weight"]) == 1
    np.testing.assert_array_equal(copies["mean"], [[1, 1], [2, 2]])


def test_one_process_is_the_chief_and_exchanges_nothing(tmp_path):
    alone = tf.distribute.get_strategy()
    assert workers.place(alone) == (0, 1)
    assert workers.any_of(alone, [True, False]) == [True, False]
    assert workers.from_chief(alone, b"state") == b"state"


def test_a_worker_that_is_gone_is_named(monkeypatch, tmp_path):
    addresses = tf_servers.free_addresses(2)
    monkeypatch.setenv("TF_CONFIG", config({"worker": addresses}))
    messages = {
        "worker 1": "Collective ops is aborted by: Error reported from /job:worker/task:1: The "
        "following tasks are unhealthy (stopped sending heartbeats):\n"
        "/job:worker/replica:0/task:1\nThe tasks have crashed.",
        "worker 0": "Collective ops is aborted by: recvmsg:Connection reset by peer\nAdditional "
        "GRPC error information from remote target /job:worker/replica:0/task:0 while calling",
        "another worker": "Socket closed",
    }
    for name, message in messages.items():
        with (
            pytest.raises(CommandError, match=f"^{name} is gone: see what it says; start all"),
            workers.output(tf.distribute.get_strategy(), tmp_path),
        ):
            raise tf.errors.UnavailableError(None, None, message)
    with (
        pytest.raises(tf.errors.InvalidArgumentError),
        workers.output(tf.distribute.get_strategy(), tmp_path),
    ):
        raise tf.errors.InvalidArgumentError(None, None, "no image")
