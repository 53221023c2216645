"""Pure image functions: an encoded image and a seed in, float32 [H,W,3] of 0..255 out."""

import tensorflow as tf
from numpy.typing import ArrayLike

# Of ImageNet's pixels, by channel.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def normalize(images: tf.Tensor) -> tf.Tensor:
    """Map pixels 0..255 [...,W,3] to mean 0 and standard deviation 1 over ImageNet."""
    shape = tf.shape(images)
    rows = tf.reshape(images, tf.concat([shape[:-2], [-1]], 0))
    # Of a whole row at once: broadcasting three numbers takes eight times as long.
    mean, std = (tf.tile(tf.constant(row), shape[-2:-1]) for row in (MEAN, STD))
    return tf.reshape((tf.cast(rows, tf.float32) - mean) / std, shape)


def image_shape(encoded: tf.Tensor) -> tf.Tensor:
    """Return int32 [3] of an encoded image; a JPEG is not decoded for it."""
    return tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.image.extract_jpeg_shape(encoded),
        lambda: tf.shape(tf.io.decode_png(encoded, channels=3)),
    )


def decode_crop(encoded: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Decode the window int32 [4] (y, x, height, width) of a JPEG or PNG: uint8 [H,W,3]."""

    def png():
        image = tf.io.decode_png(encoded, channels=3)
        return tf.image.crop_to_bounding_box(image, *tf.unstack(window))

    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.image.decode_and_crop_jpeg(encoded, window, channels=3),
        png,
    )
    return tf.ensure_shape(image, [None, None, 3])


def inception_window(
    shape: tf.Tensor,
    seed: ArrayLike,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> tf.Tensor:
    """Draw a crop of 8..100 % of the area of `shape` int32 [3]: window int32 [4]."""
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed,
        min_object_covered=0.0,
        area_range=area,
        aspect_ratio_range=aspect,
        max_attempts=100,
    )
    return tf.concat([begin[:2], size[:2]], 0)


def center_window(shape: tf.Tensor, size: int, proportion: float = 0.875) -> tf.Tensor:
    """Return the middle square as window int32 [4]: 224 of 256, or the whole shorter side.

    Small images stay whole: a crop never leaves fewer than `size` pixels a side.
    """
    side = tf.reduce_min(shape[:2])
    cropped = tf.cast(tf.round(tf.cast(side, tf.float32) * proportion), tf.int32)
    side = tf.where(cropped >= size, cropped, side)
    return tf.concat([(shape[:2] - side) // 2, [side, side]], 0)


def resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resize [H,W,3] to float32 [size,size,3]; without aliasing where it is more than halved.

    Else linearly, as ImageNet's recipes do: that takes a fifth of the time.
    """
    resized = tf.cond(
        tf.reduce_max(tf.shape(image)[:2]) > 2 * size,
        lambda: tf.image.resize(image, [size, size], antialias=True),
        lambda: tf.image.resize(image, [size, size]),
    )
    return tf.ensure_shape(resized, [size, size, 3])


def inception(encoded: tf.Tensor, size: int, seed: ArrayLike) -> tf.Tensor:
    """Take a random crop, resized, flipped half the time (Szegedy et al., 2015)."""
    image = decode_crop(encoded, inception_window(image_shape(encoded), seed))
    # While it is still bytes:
    return resize(tf.image.stateless_random_flip_left_right(image, _other(seed, 1)), size)


def pad_crop(encoded: tf.Tensor, size: int, seed: ArrayLike) -> tf.Tensor:
    """Shift the whole image by up to an eighth, and flip it half the time; for small images."""
    image, pad = center(encoded, size), size // 8
    image = tf.pad(image, [[pad, pad], [pad, pad], [0, 0]], "REFLECT")
    image = tf.image.stateless_random_crop(image, [size, size, 3], seed)
    return tf.image.stateless_random_flip_left_right(image, _other(seed, 1))


def flip(encoded: tf.Tensor, size: int, seed: ArrayLike) -> tf.Tensor:
    """Flip the whole image half the time."""
    return tf.image.stateless_random_flip_left_right(center(encoded, size), seed)


def center(encoded: tf.Tensor, size: int, seed: ArrayLike | None = None) -> tf.Tensor:
    """Take the one center crop of evaluation; `seed` is not used."""
    del seed
    return resize(decode_crop(encoded, center_window(image_shape(encoded), size)), size)


def distort_color(image: tf.Tensor, seed: ArrayLike) -> tf.Tensor:
    """Distort colors as Inception: brightness ±32/255, saturation, contrast 0.5..1.5, hue ±0.2."""
    image = tf.image.stateless_random_brightness(image / 255, 32 / 255, _other(seed, 2))
    image = tf.image.stateless_random_saturation(image, 0.5, 1.5, _other(seed, 3))
    image = tf.image.stateless_random_hue(image, 0.2, _other(seed, 4))
    image = tf.image.stateless_random_contrast(image, 0.5, 1.5, _other(seed, 5))
    return tf.clip_by_value(image, 0, 1) * 255


def _other(seed, number):
    return tf.random.experimental.stateless_fold_in(seed, number)
