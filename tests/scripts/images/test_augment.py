"""Crops by hand, and encodings."""

import numpy as np
import pytest
import tensorflow as tf

from train.lib.images import augment

RAMP = np.arange(40 * 60 * 3).reshape(40, 60, 3) % 251


def encoded(encode, image=RAMP):
    return encode(tf.constant(image, tf.uint8))


@pytest.mark.parametrize("encode", [tf.io.encode_png, tf.io.encode_jpeg])
def test_shape_is_read_of_either_encoding(encode):
    assert augment.image_shape(encoded(encode)).numpy().tolist() == [40, 60, 3]


@pytest.mark.parametrize("encode", [tf.io.encode_png, tf.io.encode_jpeg])
def test_a_decoded_window_is_the_window_of_the_decoded(encode):
    content = encoded(encode)
    whole = tf.io.decode_image(content, channels=3)
    window = augment.decode_crop(content, tf.constant([3, 5, 20, 30]))
    np.testing.assert_array_equal(window, whole[3:23, 5:35])


@pytest.mark.parametrize("encode", [tf.io.encode_png, tf.io.encode_jpeg])
def test_gray_images_get_three_channels(encode):
    content = encoded(encode, RAMP[:, :, :1])
    assert augment.decode_crop(content, tf.constant([0, 0, 8, 8])).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("shape", "size", "window"),
    [
        ([256, 256, 3], 224, [16, 16, 224, 224]),
        ([400, 600, 3], 224, [25, 125, 350, 350]),
        ([64, 64, 3], 64, [0, 0, 64, 64]),
        ([250, 300, 3], 224, [0, 25, 250, 250]),
        ([20, 30, 3], 32, [0, 5, 20, 20]),
    ],
)
def test_center_window_by_hand(shape, size, window):
    assert augment.center_window(tf.constant(shape), size).numpy().tolist() == window


def test_inception_windows_keep_to_area_and_aspect():
    shape = tf.constant([300, 400, 3])
    windows = np.array([augment.inception_window(shape, [0, n]).numpy() for n in range(300)])
    y, x, height, width = windows.T
    assert (y >= 0).all()
    assert (x >= 0).all()
    assert (y + height <= 300).all()
    assert (x + width <= 400).all()
    area, aspect = height * width / 120_000, width / height
    assert area.min() > 0.075
    assert area.max() > 0.8
    assert aspect.min() > 0.73
    assert aspect.max() < 1.36
    assert np.std(area) > 0.1


@pytest.mark.parametrize("function", [augment.inception, augment.pad_crop, augment.center])
def test_images_are_a_function_of_the_seed(function):
    content = encoded(tf.io.encode_png)
    first, again, other = (function(content, 32, seed).numpy() for seed in ([1, 2], [1, 2], [1, 3]))
    assert first.shape == (32, 32, 3)
    np.testing.assert_array_equal(first, again)
    assert (first == other).all() == (function is augment.center)


def test_normalize_by_hand():
    pixels = tf.constant([[123.675, 116.28, 103.53], [123.675 + 58.395, 116.28, 103.53 - 57.375]])
    np.testing.assert_allclose(augment.normalize(pixels), [[0, 0, 0], [1, 0, -1]], atol=1e-6)
    batch = np.random.default_rng(0).uniform(0, 255, [2, 5, 4, 3]).astype("f")
    mean, std = np.array(augment.MEAN, "f"), np.array(augment.STD, "f")
    np.testing.assert_allclose(augment.normalize(batch), (batch - mean) / std, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("side", "smooth"), [(33, True), (31, False)])
def test_what_is_more_than_halved_is_resized_without_aliasing(side, smooth):
    stripes = (np.tile([0.0, 255.0], 40)[None, :side, None] * np.ones([9, 1, 3])).astype("f")
    expected = tf.image.resize(stripes, [16, 16], antialias=smooth)
    np.testing.assert_allclose(augment.resize(stripes, 16), expected, atol=1e-3)
    assert (expected.numpy().std() < 10) == smooth


def test_distorted_colors_stay_in_range():
    image = tf.constant(RAMP, tf.float32)
    distorted = augment.distort_color(image, tf.constant([4, 5])).numpy()
    assert distorted.min() >= 0
    assert distorted.max() <= 255
    assert np.abs(distorted - RAMP).mean() > 1
