"""Shares of several workers: together they are one process's batch."""

import os

import numpy as np
import pytest
import tensorflow as tf

from tests.support.tiny_images import batches, numbers, opened, write
from train.lib.images import datasets
from train.lib.images.share import WHOLE, Share
from train.lib.run.errors import UsageError


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "tiny" / "1.0.0")


@pytest.mark.parametrize(
    ("name", "workers"),
    [
        pytest.param("tfds", 2, marks=pytest.mark.slow),
        ("tfds, 3 classes", 4),
        ("shapes", 2),
    ],
)
def test_the_shares_of_all_workers_are_one_process_s_batch(name, workers, intact):
    """Each image once, in its place, also after a restart, and with fewer shards than workers."""

    def load(share=WHOLE):
        options = {"image_size": 32, "batch_size": 8, "seed": 3, "share": share}
        if name == "shapes":
            return datasets.load("shapes", **options)
        classes = 3 if "classes" in name else None
        return datasets.load(
            os.fspath(intact), augmentation="inception", num_classes=classes, **options
        )

    alone = batches(load().train_stream(5), 2)
    shares = [load(Share(worker, 1, workers)) for worker in range(workers)]
    parts = [batches(images.train_stream(5), 2) for images in shares]
    for step, (images, labels) in enumerate(alone):
        np.testing.assert_array_equal(np.concatenate([part[step][0] for part in parts]), images)
        np.testing.assert_array_equal(np.concatenate([part[step][1] for part in parts]), labels)
    assert all(
        images.train_stream().cardinality() == tf.data.INFINITE_CARDINALITY for images in shares
    )


@pytest.mark.parametrize(("workers", "batch"), [(2, 2), (3, 6)])
def test_every_worker_evaluates_its_share_in_as_many_batches(workers, batch, intact):
    shares = [
        opened(intact, batch_size=batch, share=Share(worker, 1, workers))
        for worker in range(workers)
    ]
    seen = [list(images.eval_dataset().as_numpy_iterator()) for images in shares]
    counts = {len(parts) for parts in seen} | {int(i.eval_dataset().cardinality()) for i in shares}
    assert len(counts) == 1
    assert sorted(np.concatenate([numbers(x) for parts in seen for x, _ in parts])) == [*range(7)]
    assert all(len(x) for parts in seen for x, _ in parts)


def test_a_worker_with_two_replicas_reads_a_batch_for_each(intact):
    [[first, _], [second, _]] = batches(opened(intact, share=Share(2, 2, 4)).train_stream(1), 2)
    [[whole, _]] = batches(opened(intact).train_stream(1), 1)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole[4:])


@pytest.mark.parametrize(
    ("replicas", "message"), [(3, "batch_size=8 is no multiple"), (8, "7 held-out")]
)
def test_a_batch_that_cannot_be_shared_is_refused(replicas, message, intact):
    with pytest.raises(UsageError, match=message):
        opened(intact, share=Share(0, 1, replicas))
