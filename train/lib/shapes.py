"""Shapes: ten classes of textured shapes on clutter, drawn on the fly where no data set is prepared.

Every image is a pure function of (seed, split, index). Position, size, rotation, colours, contrast
polarity and texture are random and independent of the class, and fragments of the same make litter
the background, so that the class is in the outline alone.
"""

import functools

import numpy as np
import tensorflow as tf

CLASSES = (
    "disc", "ring", "triangle", "square", "frame", "cross", "star", "crescent", "hourglass", "bolt",
)  # fmt: skip
SIZES = {"train": 50_000, "validation": 2_000}
FRAGMENTS = 5  # pieces of clutter in every image
TEMPLATE = 64  # side of a template in pixels; the outline fills about its middle half


@functools.cache
def templates():
    """Returns the soft masks float32 [10 + 4, TEMPLATE, TEMPLATE] of the outlines, then of the clutter."""
    side = np.linspace(-2, 2, TEMPLATE, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    r, a = np.hypot(x, y), np.arctan2(y, x)
    box = np.maximum(abs(x), abs(y))

    def wedge(n, angle):  # the angle to the nearest of n spokes
        return abs((angle + np.pi / n) % (2 * np.pi / n) - np.pi / n)

    # Each line is positive inside, about a distance, and scaled so that areas are alike.
    outlines = [
        0.9 - r,
        0.28 - abs(r - 0.88),
        0.62 - r * np.cos(wedge(3, a)),
        0.8 - box,
        0.25 - abs(box - 0.8),
        np.maximum(
            np.minimum(0.3 - abs(x), 1.2 - abs(y)), np.minimum(0.3 - abs(y), 1.2 - abs(x))
        ),
        (0.62 - r * np.cos(wedge(5, a) - 0.95) * 1.0) * 0.8,
        np.minimum(1.05 - r, np.hypot(x - 0.55, y) - 0.85),
        np.minimum(abs(y) * 0.75 + 0.08 - abs(x) * 0.85, 1.05 - abs(y)),
        np.minimum(
            0.33 - abs(np.where(y > 0, x - 0.35, x + 0.35)),
            1.1 - abs(y),
        ),
    ]
    clutter = [
        np.minimum(0.25 - abs(x), 1.0 - abs(y)),
        np.minimum(0.2 - abs(r - 0.9), x),
        np.minimum(0.22 - abs(box - 0.8), np.minimum(x, y) + 0.4),
        0.55 - np.hypot(x, y * 0.7),
    ]
    pixel = 4 / TEMPLATE
    return np.clip(np.stack(outlines + clutter) / pixel + 0.5, 0, 1).astype(np.float32)


def draw(index, *, seed=0, split="train", image_size=64):
    """Draws image uint8 [H,W,3] and its label int32 []; splits differ in the seed, so none is shared."""
    index = tf.cast(index, tf.int32)
    root = tf.constant([seed, list(SIZES).index(split)], tf.int32)
    key = tf.random.experimental.stateless_fold_in(root, index)
    label = tf.random.stateless_uniform([], key, 0, len(CLASSES), tf.int32)
    layers = FRAGMENTS + 1  # the shape is drawn last, above the clutter
    u = tf.random.stateless_uniform([12, layers + 1], key + [1, 0])
    kinds = tf.cast(u[0, :FRAGMENTS] * 4, tf.int32) + len(CLASSES)
    kinds = tf.concat([kinds, [label]], 0)
    masks = _placed(kinds, u[1:5, :layers], image_size)
    paint = _textures(u[5:], key, image_size)
    image = paint[0]
    for layer in range(layers):
        image += masks[layer, :, :, None] * (paint[layer + 1] - image)
    image += tf.random.stateless_normal([image_size, image_size, 1], key + [2, 0]) * 0.04
    return tf.cast(tf.clip_by_value(image, 0, 1) * 255, tf.uint8), label


def _placed(kinds, u, size):
    """Places template kinds [L] by uniform numbers u [4,L]: masks [L,H,W]."""
    is_shape = tf.cast(kinds < len(CLASSES), tf.float32)
    scale = is_shape * (0.42 + 0.2 * u[0]) + (1 - is_shape) * (0.2 + 0.25 * u[0])
    reach = is_shape * (0.85 - scale) + (1 - is_shape) * 0.95
    x, y = (2 * u[1] - 1) * reach, (2 * u[2] - 1) * reach
    angle = 2 * np.pi * u[3]
    # Output pixel (0..size) -> template pixel, as the rows of a projective transform.
    zoom = TEMPLATE / (2 * size * scale)
    c, s = zoom * tf.cos(angle), zoom * tf.sin(angle)
    px, py = (x + 1) * size / 2, (y + 1) * size / 2
    zero = tf.zeros_like(c)
    rows = [
        c,
        -s,
        TEMPLATE / 2 - c * px + s * py,
        s,
        c,
        TEMPLATE / 2 - s * px - c * py,
        zero,
        zero,
    ]
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.gather(templates(), kinds)[..., None],
        transforms=tf.stack(rows, 1),
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return warped[..., 0]


def _textures(u, key, size):
    """Paints the background and every layer with a colour and a grating: [L+1,H,W,3]."""
    layers = u.shape[1]
    grid = tf.linspace(-1.0, 1.0, size)
    angle = np.pi * u[0]
    pitch = 4 + 12 * u[1]
    kx, ky = pitch * tf.cos(angle), pitch * tf.sin(angle)
    wave = tf.sin(
        kx[:, None, None] * grid[None, None, :]
        + ky[:, None, None] * grid[None, :, None]
        + 6.28 * u[2][:, None, None]
    )
    colour = tf.transpose(u[3:6])  # [L+1,3]
    other = tf.random.stateless_uniform([layers, 3], key + [3, 0])
    tint = (other - 0.5) * 0.5
    return colour[:, None, None, :] + wave[..., None] * tint[:, None, None, :]
