"""TF_CONFIG: what cannot be is refused before a server starts."""

import json

import pytest

from train.lib.run import tf_config

CLUSTER = {"ps": ["10.0.0.1:2222"], "worker": ["host:1", "[::1]:65535"]}


def parse(cluster=CLUSTER, task=None):
    return tf_config.parse(json.dumps({"cluster": cluster, "task": task or {"type": "ps"}}))


def test_a_cluster_is_read():
    assert parse() == (CLUSTER, "ps")
    for index in (1, "1"):
        assert parse(task={"type": "worker", "index": index}) == (CLUSTER, "worker")
    assert parse(task={"type": "chief", "index": 0}) == (CLUSTER, "chief")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"type": "worker", "index": 2}, "its task is worker 2, of 2, counted from 0"),
        ({"type": "worker", "index": -1}, "worker -1"),
        ({"type": "worker", "index": True}, "worker True"),
        ({"type": "worker", "index": [0]}, r"worker \[0\]"),
        ({"type": "worker"}, "worker None"),
        ({"type": "chief", "index": 1}, "chief 1, of 1"),
        ({"type": "boss", "index": 0}, "of type 'boss', which is not in the cluster"),
        ({"type": ["ps"], "index": 0}, "of type"),
        (["ps"], "it has no task"),
    ],
)
def test_a_task_that_cannot_be_is_refused(task, message):
    with pytest.raises(ValueError, match=message):
        parse(task=task)


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        ([1], "1 of worker is no HOST:PORT"),
        ("host:1", "worker is 'host:1', expected a list"),
        ({"0": "host:1"}, "expected a list"),
        ([], "expected a list"),
        (None, "expected a list"),
        (["host:99999"], "'host:99999' of worker is no HOST:PORT with a port up to 65535"),
        (["host:0"], "no HOST:PORT"),
        (["host"], "no HOST:PORT"),
        (["grpc://host:1"], "no HOST:PORT"),
        ([" host:1"], "no HOST:PORT"),
        (["10.0.0.1:2222"], "two tasks have the address 10.0.0.1:2222"),
    ],
)
def test_addresses_that_cannot_be_are_refused(addresses, message):
    with pytest.raises(ValueError, match=message):
        parse(CLUSTER | {"worker": addresses})


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_text_that_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match="it is not JSON"):
        tf_config.parse(text)


@pytest.mark.parametrize("text", ["null", "[]", '{"cluster": 3}'])
def test_json_without_a_cluster_is_refused(text):
    with pytest.raises(ValueError, match="it has no cluster"):
        tf_config.parse(text)
