"""Shapes: ten classes of textured shapes on clutter, drawn if no data set is prepared.

An image is a pure function of (seed, split, index). Place, size, angle, colors, texture and
polarity (lighter or darker than the ground) are drawn independently of the class, all outlines
have the same area, and fragments litter the ground: the class is only in the outline.
"""

import functools

import numpy as np
import tensorflow as tf

CLASSES = (
    "disc", "ring", "triangle", "square", "frame",
    "cross", "star", "crescent", "hourglass", "steps",
)  # fmt: skip
# Recipes are chosen on `selection`; results are of `validation`, which no choice has looked at.
SIZES = {"train": 50_000, "selection": 1_000, "validation": 1_000}

FRAGMENTS = 2  # pieces of clutter in every image
SCALE = (0.4, 0.56)  # of a shape; 1 would fill the image
TURN = np.pi / 2  # a shape is turned by at most this, either way
CONTRAST = (0.3, 0.5)  # of a layer's brightness to the ground's, of 0..1
TEXTURE = 0.15  # amplitude of the gratings
NOISE = 0.02  # standard deviation of each pixel
CANVAS = 64  # side of a mask in pixels, 4 units; an outline's area is about 2.2 units


@functools.cache
def masks() -> np.ndarray:
    """Return soft masks float32 [14,64,64]: the ten outlines, then four kinds of fragment."""
    side = np.linspace(-2, 2, CANVAS, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    r, box = np.hypot(x, y), np.maximum(abs(x), abs(y))
    both = np.minimum  # intersection; every expression is positive inside, in units

    def star(points, outer, inner):
        """Fold the plane into one half of a point, where the outline is a straight line."""
        half = np.pi / points
        angle = abs((np.arctan2(y, x) + half) % (2 * half) - half)
        run, rise = inner * np.cos(half) - outer, inner * np.sin(half)
        inside = rise * (outer - r * np.cos(angle)) + run * r * np.sin(angle)
        return inside / np.hypot(run, rise)

    outlines = {
        "disc": 0.84 - r,
        "ring": 0.215 - abs(r - 0.835),
        "triangle": star(3, 1.3, 0.65),
        "square": 0.74 - box,
        "frame": 0.185 - abs(box - 0.765),
        "cross": np.maximum(both(0.29 - abs(x), 1.1 - abs(y)), both(0.29 - abs(y), 1.1 - abs(x))),
        "star": star(5, 1.25, 0.6),
        "crescent": both(1.1 - r, np.hypot(x - 0.6, y) - 0.85),
        "hourglass": both(0.76 * (0.85 * abs(y) + 0.08 - abs(x)), 1.05 - abs(y)),
        "steps": both(0.45 - abs(abs(x) - 0.45), 0.6 - abs(y - 0.5 * np.sign(x))),
    }
    fragments = [
        both(0.25 - abs(x), 1.0 - abs(y)),  # bar
        both(0.2 - abs(r - 0.9), x),  # arc
        both(0.22 - abs(box - 0.8), both(x, y) + 0.4),  # corner
        0.55 - np.hypot(x, y * 0.7),  # blob
    ]
    distance = np.stack([*(outlines[name] for name in CLASSES), *fragments])
    return np.clip(distance * CANVAS / 4 + 0.5, 0, 1).astype(np.float32)


def draw(
    index: int | tf.Tensor, *, seed: int = 0, split: str = "train", image_size: int = 64
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw image uint8 [H,W,3] and label int32 []; the splits share no random numbers."""
    key = tf.constant([seed, list(SIZES).index(split)], tf.int32)
    key = tf.random.experimental.stateless_fold_in(key, tf.cast(index, tf.int32))
    keys = tf.unstack(tf.random.split(key, 5))
    label = tf.random.stateless_uniform([], keys[0], 0, len(CLASSES), tf.int32)
    kinds = len(CLASSES) + tf.random.stateless_uniform([FRAGMENTS], keys[1], 0, 4, tf.int32)
    layers = _place(tf.concat([kinds, [label]], 0), keys[2], image_size)[..., None]
    image, *paints = tf.unstack(_paint(FRAGMENTS + 2, keys[3], image_size))
    for layer, paint in zip(tf.unstack(layers, FRAGMENTS + 1), paints, strict=True):
        image += layer * (paint - image)
    image += NOISE * tf.random.stateless_normal([image_size, image_size, 3], keys[4])
    return tf.cast(255 * tf.clip_by_value(image, 0, 1) + 0.5, tf.uint8), label


def _place(kinds, key, size):
    """Turn, scale and move the masks of the kinds [L], the shape last: [L,H,W]."""
    shape = kinds < len(CLASSES)
    u, across, down, turn = tf.unstack(tf.random.stateless_uniform([4, len(kinds)], key, -1, 1))
    scale = tf.where(shape, np.mean(SCALE) + np.ptp(SCALE) / 2 * u, 0.32 + 0.1 * u)
    reach = tf.where(shape, 0.85 - scale, 0.95)  # of the center, so that a shape stays inside
    turn *= tf.where(shape, TURN, np.pi)
    # Output pixels to mask pixels, as the rows of a projective transform.
    zoom = CANVAS / (2 * size * scale)
    c, s, zero = zoom * tf.cos(turn), zoom * tf.sin(turn), tf.zeros_like(turn)
    x, y = (1 + reach * across) * size / 2, (1 + reach * down) * size / 2
    middle = CANVAS / 2
    rows = [c, -s, middle - c * x + s * y, s, c, middle - s * x - c * y, zero, zero]
    placed = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.gather(masks(), kinds)[..., None],
        transforms=tf.stack(rows, 1),
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return placed[..., 0]


def _paint(layers, key, size):
    """Color the ground and the layers, each with a grating of its own: [L,H,W,3]."""
    keys = tf.unstack(tf.random.split(key, 3))
    u = tf.unstack(tf.random.stateless_uniform([6, layers], keys[0]))
    ground = 0.35 + 0.3 * u[0][0]
    contrast = (CONTRAST[0] + np.ptp(CONTRAST) * u[1]) * tf.sign(u[2] - 0.5)
    brightness = ground + tf.concat([[0.0], contrast[1:]], 0)
    color = brightness[:, None] + tf.random.stateless_uniform([layers, 3], keys[1], -0.15, 0.15)
    tint = TEXTURE * tf.random.stateless_uniform([layers, 3], keys[2], -1, 1)
    grid = tf.linspace(-1.0, 1.0, size)
    angle, pitch, phase = (v[:, None, None] for v in (np.pi * u[3], 4 + 12 * u[4], 6.28 * u[5]))
    wave = tf.sin(pitch * (tf.cos(angle) * grid + tf.sin(angle) * grid[:, None]) + phase)
    return color[:, None, None] + wave[..., None] * tint[:, None, None]
