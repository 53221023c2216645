"""Streams: exact resumption, whole epochs, and one clear line for each kind of broken data."""

import os
import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.support.tiny_images import (
    HELD_OUT,
    SHARD,
    TRAIN,
    batches,
    numbers,
    opened,
    shard,
    write,
)
from train.lib.images import datasets, tfds_images, tfrecords
from train.lib.run.errors import UsageError


@pytest.fixture(scope="session")
def intact(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "tiny" / "1.0.0")


@pytest.fixture
def broken(tmp_path):
    """A directory of its own, to break."""
    return write(tmp_path / "tiny" / "1.0.0")


def assert_same(some, others):
    for one, other in zip(some, others, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_epoch_sees_every_example_once_and_each_in_its_own_order(intact):
    seen = np.concatenate([numbers(x) for x, _ in batches(opened(intact).train_stream(), 50)])
    epochs = seen.reshape(8, TRAIN)
    for epoch in epochs:
        assert sorted(epoch) == list(range(TRAIN))
    assert len({tuple(epoch) for epoch in epochs}) == 8


def test_labels_belong_to_their_images(intact):
    for images, labels in batches(opened(intact).train_stream(), 10):
        assert images.dtype == np.float32
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(numbers(images) % 5, labels)


@pytest.mark.parametrize("augmentation", ["inception", "pad_crop"])
@pytest.mark.parametrize("start", [13])
def test_a_stream_from_a_step_is_the_tail_of_the_whole(intact, augmentation, start):
    images = opened(intact, augmentation=augmentation, color_distortion=True)
    assert images.augmentation == augmentation
    whole = batches(images.train_stream(), 20)  # TRAIN / 8: epochs end inside batches
    assert_same(batches(images.train_stream(start), 20 - start), whole[start:])


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("window", [3, 50])
def test_records_resume_at_any_place(intact, monkeypatch, parallel, window):
    monkeypatch.setattr(tfrecords, "PARALLEL", parallel)
    files = sorted(intact.glob("*train*"))
    lengths = [SHARD] * (TRAIN // SHARD) + [TRAIN % SHARD]
    read = lambda start: tfrecords.shuffled(files, lengths, 0, start, window)  # noqa: E731
    whole = list(read(0).take(120).as_numpy_iterator())
    assert len(set(whole[:TRAIN])) == len(set(whole[TRAIN : 2 * TRAIN])) == TRAIN
    for start in (17, TRAIN - 1, TRAIN, TRAIN + 31):
        assert list(read(start).take(120 - start).as_numpy_iterator()) == whole[start:]


def test_the_global_seed_plays_no_part_and_the_own_seed_does(intact):
    first = batches(opened(intact, augmentation="inception").train_stream(), 8)
    tf.random.set_seed(99)
    assert_same(batches(opened(intact, augmentation="inception").train_stream(), 8), first)
    other = batches(opened(intact, augmentation="inception", seed=4).train_stream(), 8)
    assert any((a[0] != b[0]).any() for a, b in zip(first, other, strict=True))


def test_a_few_classes_are_a_data_set_of_their_own(intact):
    few = opened(intact, num_classes=2)
    assert (few.name, few.num_classes, few.train_size, few.eval_size) == (
        "tiny, 2 classes",
        2,
        20,
        4,
    )
    whole = batches(few.train_stream(), 10)  # four epochs
    for epoch in np.split(np.concatenate([numbers(images) for images, _ in whole]), 4):
        assert sorted(epoch) == [n for n in range(TRAIN) if n % 5 < 2]
    for start in (1, 2, 5, 8):
        assert_same(batches(few.train_stream(start), 2), whole[start : start + 2])
    held_out = np.concatenate([numbers(images) for images, _ in few.eval_dataset()])
    assert held_out.tolist() == [0, 1, 5, 6]


def test_evaluation_is_every_image_in_order(intact):
    images, labels = zip(*batches(opened(intact, batch_size=4).eval_dataset(), 9), strict=True)
    assert [len(batch) for batch in images] == [4, 3]
    np.testing.assert_array_equal(numbers(np.concatenate(images)), range(HELD_OUT))
    np.testing.assert_array_equal(np.concatenate(labels), np.arange(HELD_OUT) % 5)


def test_jpeg_and_png_are_distinguished(tmp_path):
    folder = write(tmp_path / "tiny" / "1.0.0", encoding="jpeg")
    for images, labels in batches(opened(folder, augmentation="inception").train_stream(), 2):
        np.testing.assert_array_equal(numbers(images) % 5, labels)


def test_streams_are_shared_out_over_replicas(intact, two_replicas):
    images = opened(intact)
    shared = two_replicas.experimental_distribute_dataset(images.train_stream(5))
    parts = two_replicas.experimental_local_results(next(iter(shared)))
    joined = np.concatenate([x.numpy() for x, _ in parts])
    np.testing.assert_array_equal(joined, batches(images.train_stream(5), 1)[0][0])


def test_names_and_directories_are_found(intact):
    root = intact.parent.parent
    assert tfds_images.prepared(root) == ["tiny"]
    named = datasets.load("tiny", data_dir=root, image_size=32)
    assert named.describe() == {
        "name": "tiny",
        "classes": 5,
        "train_size": TRAIN,
        "eval_size": HELD_OUT,
        "version": "1.0.0",
        "image_size": 32,
        "batch_size": 32,
        "seed": 0,
        "notice": "",
    }
    stand_in = datasets.load(data_dir=root, image_size=32)
    assert stand_in.name == "shapes"
    assert stand_in.notice.startswith("NO ImageNet IS PREPARED: ")
    assert str(root) in stand_in.where


def test_what_is_stored_about_data_is_the_same_in_another_folder(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    before, after = (datasets.load(data_dir=tmp_path / name, image_size=32) for name in "ab")
    assert before.where != after.where
    assert before.describe() == after.describe()


def test_shapes_resume_and_change_order_with_the_epoch(monkeypatch):
    monkeypatch.setitem(datasets.shapes.SIZES, "train", 20)
    images = datasets.load("shapes", image_size=32, batch_size=8)
    whole = batches(images.train_stream(), 5)
    assert_same(batches(images.train_stream(2), 3), whole[2:])
    labels = np.concatenate([y for _, y in whole]).reshape(2, 20)
    assert sorted(labels[0]) == sorted(labels[1])
    assert list(labels[0]) != list(labels[1])
    assert images.notice


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 31}, "image_size=31 is too small: expected at least 32"),
        ({"batch_size": 0}, "batch_size=0: expected at least 1"),
        ({"num_classes": 5}, "--num_classes=5: tiny has 5 classes, expected 2 to 4"),
        (
            {"augmentation": "mixup"},
            "augmentation 'mixup': expected inception, pad_crop, flip, none",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(intact, changes, message):
    with pytest.raises(UsageError, match=message):
        opened(intact, **changes)


@pytest.mark.parametrize("name", ["nothing", "mnist", "no/where", "bad name!"])
def test_an_unknown_data_set_lists_what_is_there(intact, name):
    with pytest.raises(UsageError, match=rf"no data set '{name}'.*shapes, tiny"):
        datasets.load(name, data_dir=intact.parent.parent)


@pytest.mark.parametrize("file", ["features.json", "dataset_info.json"])
@pytest.mark.parametrize("length", [0, 60])
def test_a_broken_description_is_not_called_missing(broken, file, length):
    (broken / file).write_text((broken / file).read_text()[:length])
    for name in (broken, "tiny"):
        with pytest.raises(UsageError, match=r"is broken: .*(line 1|char)"):
            datasets.load(os.fspath(name), data_dir=broken.parent.parent)


def test_a_split_without_examples_is_named(broken):
    info = broken / "dataset_info.json"
    info.write_text(re.sub(r'("shardLengths": )\[[^]]*\]', r"\1[]", info.read_text()))
    with pytest.raises(UsageError, match="split train has no examples"):
        opened(broken)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("~nobodyx/y", "no home directory for .*~nobodyx/y"),
        ("no/where", "no/where is not a folder"),
    ],
)
def test_a_data_folder_that_is_not_there_is_named(folder, message):
    for name in (None, "mnist"):
        with pytest.raises(UsageError, match=message):
            datasets.load(name, data_dir=folder)


def test_a_directory_without_labels_is_refused(tmp_path):
    features = {"image": tfds.features.Image(shape=(None, None, 3))}
    folder = write(tmp_path / "tiny" / "1.0.0", features=features)
    with pytest.raises(
        UsageError, match="expected a feature 'label' of kind ClassLabel, got image"
    ):
        opened(folder)


def test_a_directory_without_held_out_images_is_refused(tmp_path):
    folder = write(tmp_path / "tiny" / "1.0.0", splits=[("train", 4)])
    with pytest.raises(UsageError, match=r"expected splits train and validation .*, got train"):
        opened(folder)


def test_an_empty_shard_is_named(broken):
    shard(broken, 2).write_bytes(b"")
    with pytest.raises(UsageError, match=rf"shard .*{shard(broken, 2).name} is empty"):
        opened(broken)


def test_a_missing_shard_is_named(broken):
    name = shard(broken, 3).name
    shard(broken, 3).unlink()
    with pytest.raises(UsageError, match=rf"shard .*{name} is missing"):
        opened(broken)


def test_a_shard_that_is_cut_short_is_named_before_the_first_step(broken):
    victim = shard(broken, 1)
    victim.write_bytes(victim.read_bytes()[:-5])
    with pytest.raises(
        UsageError, match=rf"{victim.name} is broken: expected 4 records, got 3 and"
    ):
        opened(broken)


@pytest.mark.parametrize("parallel", [1, 16])
def test_a_corrupt_shard_is_named_while_reading(broken, monkeypatch, parallel):
    monkeypatch.setattr(tfrecords, "PARALLEL", parallel)
    victim = shard(broken, 4)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0xFF
    victim.write_bytes(content)
    images = opened(broken)
    message = rf"shard .*{victim.name} is corrupt at record \d"
    with pytest.raises(UsageError, match=message), images.named_errors():
        batches(images.train_stream(), 10)
    with pytest.raises(UsageError, match=message):
        opened(broken, num_classes=2)


def test_a_label_outside_the_classes_is_named(broken):
    features = broken / "features.json"
    features.write_text(features.read_text().replace('"numClasses": "5"', '"numClasses": "4"'))
    images = opened(broken)
    message = "label 4 in .*: expected 0 to 3"
    with pytest.raises(UsageError, match=message), images.named_errors():
        batches(images.train_stream(), 10)


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_an_image_that_cannot_be_decoded_is_named(tmp_path, monkeypatch, encoding):
    whole = tfds.features.Image.encode_example
    short = lambda self, example: whole(self, example)[:60]  # noqa: E731
    monkeypatch.setattr(tfds.features.Image, "encode_example", short)
    images = opened(write(tmp_path / "tiny" / "1.0.0", encoding=encoding))
    with (
        pytest.raises(UsageError, match=r"an image in .* cannot be decoded"),
        images.named_errors(),
    ):
        batches(images.train_stream(), 1)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "size"), [("cifar10", 32), ("tiny_imagenet50", 64), ("imagenet2012", 224)]
)
def test_prepared_sets_resume(name, size):
    if name not in tfds_images.prepared():
        pytest.skip(f"{name} is not prepared under TFDS_DATA_DIR")
    images = datasets.load(name, image_size=size, batch_size=32)
    last = images.steps_per_epoch - 1
    whole = batches(images.train_stream(last), 4)
    assert_same(batches(images.train_stream(last + 2), 2), whole[2:])
    assert all(np.isfinite(x).all() and x.shape == (32, size, size, 3) for x, _ in whole)
