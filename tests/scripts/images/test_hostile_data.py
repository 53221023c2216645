"""Data sets that are not what they seem: one line, and no code of theirs runs."""

import os
import re
import sys

import pytest
import tensorflow as tf

from tests.support.tiny_images import SHARD, batches, opened, write
from train.lib.images import datasets, tfrecords
from train.lib.run.errors import UsageError


@pytest.fixture
def broken(tmp_path):
    """A directory of its own, to break."""
    return write(tmp_path / "tiny" / "1.0.0")


@pytest.mark.parametrize(
    "name", ["evil_module.Feature", "os.path.Label", "tensorflow_datasets.evil"]
)
def test_features_decide_on_no_import(broken, monkeypatch, name):
    monkeypatch.syspath_prepend(broken)
    (broken / "evil_module.py").write_text("raise SystemExit('imported')")
    features = broken / "features.json"
    content = features.read_text()
    features.write_text(re.sub(r"tensorflow_datasets[.\w]*ClassLabel", name, content))
    for opening in (broken, "tiny"):
        with pytest.raises(UsageError, match=f"names the class '{name}'"):
            datasets.load(os.fspath(opening), data_dir=broken.parents[1])
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "[]", "null", "3", '{"type": 1}'])
def test_broken_descriptions_are_one_line(broken, content):
    for name in ("features.json", "dataset_info.json"):
        whole = (broken / name).read_text()
        (broken / name).write_text(content)
        with pytest.raises(UsageError, match="broken"):
            opened(broken)
        (broken / name).write_text(whole)


def test_a_description_without_a_name_is_one_line(broken):
    path = broken / "dataset_info.json"
    path.write_text(path.read_text().replace('"name": "tiny"', '"name": ""'))
    with pytest.raises(UsageError, match="is broken"):
        opened(broken)


@pytest.mark.parametrize(
    "record", [b"", b"no example", bytes(range(256)), tf.train.Example().SerializeToString()]
)
def test_a_record_of_something_else_is_one_line(broken, monkeypatch, record):
    monkeypatch.setattr(tfrecords, "check", lambda *_: None)
    for path in broken.glob("*train*tfrecord*"):
        with tf.io.TFRecordWriter(os.fspath(path)) as writer:
            for _ in range(SHARD):
                writer.write(record)
    images = opened(broken)
    with (
        pytest.raises(UsageError, match=f"in {broken} cannot be decoded: ") as error,
        images.named_errors(),
    ):
        batches(images.train_stream(), 1)
    assert "{{" not in str(error.value)
    assert "[Op" not in str(error.value)
    with pytest.raises(UsageError, match="cannot be read: "):
        opened(broken, num_classes=2)


def test_errors_of_the_model_are_not_the_datas(broken):
    images = opened(broken)
    with pytest.raises(tf.errors.InvalidArgumentError), images.named_errors():
        tf.reshape(tf.zeros([3]), [2])


def test_a_batch_beyond_the_memory_is_refused(broken):
    with pytest.raises(
        UsageError, match=r"--batch_size=1000000000 of .*32x32 needs .* GiB of memory"
    ):
        opened(broken, batch_size=10**9)
