"""Drawn images: a function of (seed, split, index), and out of reach of the pixels alone."""

import numpy as np
import pytest
import tensorflow as tf

from train.lib.images import datasets, shapes
from train.lib.images.pixel_baseline import pixel_baseline
from train.lib.run.errors import UsageError


def drawn(count, **options):
    indices = tf.data.Dataset.range(count)
    examples = indices.map(lambda i: shapes.draw(i, **options), num_parallel_calls=2)
    images, labels = zip(*examples.as_numpy_iterator(), strict=True)
    return np.stack(images), np.array(labels)


@pytest.fixture(scope="module")
def some():
    return drawn(1500, image_size=32)


def test_an_image_is_a_function_of_seed_split_and_index():
    image, label = shapes.draw(7, seed=1, image_size=48)
    again, label_again = shapes.draw(7, seed=1, image_size=48)
    np.testing.assert_array_equal(image, again)
    assert image.shape == (48, 48, 3)
    assert image.dtype == tf.uint8
    assert label == label_again
    for other in (
        shapes.draw(8, seed=1, image_size=48),
        shapes.draw(7, seed=2, image_size=48),
        shapes.draw(7, seed=1, split="selection", image_size=48),
        shapes.draw(7, seed=1, split="validation", image_size=48),
    ):
        assert (other[0] != image).numpy().any()


def test_classes_are_even(some):
    counts = np.bincount(some[1], minlength=10)
    assert len(counts) == len(shapes.CLASSES) == 10
    assert counts.min() > 110
    assert counts.max() < 190


def test_outlines_have_the_same_area():
    areas = shapes.masks()[:10].mean((1, 2)) * 16
    assert np.ptp(areas) / areas.mean() < 0.12


def test_no_class_has_a_color_or_a_contrast_of_its_own(some):
    images, labels = some
    for statistic in (images.mean((1, 2)), images.std((1, 2))):
        for channel in statistic.T:
            means = [channel[labels == k].mean() for k in range(10)]
            assert np.ptp(means) < 0.7 * channel.std()


def test_splits_share_no_image(some):
    held_out, _ = drawn(300, image_size=32, split="validation")
    train = {image.tobytes() for image in some[0]}
    assert not any(image.tobytes() in train for image in held_out)


@pytest.mark.parametrize("size", [32, 224])
def test_any_size_is_the_same_scene(size):
    small, label = shapes.draw(5, image_size=64)
    scene, same = shapes.draw(5, image_size=size)
    assert label == same
    difference = tf.image.resize(scene, [16, 16], antialias=True) - tf.image.resize(
        small, [16, 16], antialias=True
    )
    assert tf.reduce_mean(abs(difference)) < 6


def test_pixels_alone_say_little():
    images = datasets.load("shapes", image_size=32, batch_size=50)
    assert pixel_baseline(images, examples=3000, epochs=5) < 0.2


def test_every_replica_has_an_image_of_the_last_held_out_batch():
    """1,000 images are held out: batches of 12 leave 4."""
    images = datasets.load("shapes", image_size=32, batch_size=12)
    images.refuse_small_rest(4)
    message = "--batch_size=12 leaves 4 of 1000 held-out images for the last batch"
    with pytest.raises(UsageError, match=message):
        images.refuse_small_rest(5)
    datasets.load("shapes", image_size=32, batch_size=10).refuse_small_rest(8)
