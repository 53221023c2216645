"""A split network: what a decoupled step costs over backpropagation, and how fast images come."""

import sys
import time

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

import sobolev_tf as st
from train import imagenet
from train.bench import benchmark, cost
from train.lib.images import augment, datasets, streams, tfds_images

SIDE, BATCH = 64, 32


def rows(turns: int = 4, calls: int = 2) -> benchmark.Rows:
    yield from step(turns, calls)
    yield from pipeline(3 * turns)


def step(turns: int, calls: int) -> benchmark.Rows:
    """ResNet50 with three cuts: a Sobolev step over backpropagation's, between diagnostics."""
    noise = batch(SIDE, BATCH, 50)
    models = [model(method, SIDE, 3, 50) for method in ("sobolev", "backprop")]
    counts = [cost.products(model, noise) for model in models]
    name = f"ResNet50 at {SIDE}x{SIDE}, 3 cuts, sobolev over backprop"
    yield f"{name}: ratio of arithmetic counts", counts[0] / counts[1]
    times = benchmark.seconds_in_turns(
        [benchmark.step_runner(model, noise) for model in models], calls, turns
    )
    ratio = np.median(times[:, 0] / times[:, 1])
    yield f"{name}: ratio of steps (bar 1.15 of its arithmetic count)", ratio
    yield f"{name}: seconds a step", np.median(times[:, 0])


def pipeline(
    turns: int, batches: int = 24, batch_size: int = 16, size: int = 224
) -> benchmark.Rows:
    """Images a second of the ImageNet pipeline, over decoding all, then augmenting."""
    if "imagenet2012" not in tfds_images.prepared():
        print("images a second: skipped, no imagenet2012 in TFDS_DATA_DIR", file=sys.stderr)
        return
    ours = datasets.load(
        "imagenet2012", image_size=size, batch_size=batch_size, augmentation="inception"
    )
    both = ours.train_stream(), _decode_all(size, batch_size)
    rates = np.array(
        [[_images_a_second(dataset, batches) for dataset in both] for _ in range(turns)]
    )
    for k, what in enumerate(("of processor time", "on all cores")):
        name = f"ImageNet at {size}x{size}, images a second {what}"
        yield name, np.median(rates[:, 0, k])
        yield f"{name}: all decoded, then augmented", np.median(rates[:, 1, k])
        bar = "" if k else " (bar 1.5)"
        yield f"{name}: ratio of both{bar}", np.median(rates[:, 0, k] / rates[:, 1, k])


def batch(side: int, size: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images [B,H,W,C] of noise, and labels [B]."""
    rng = np.random.default_rng(0)
    return rng.normal(size=[size, side, side, 3]).astype("float32"), rng.integers(0, classes, size)


def model(
    method: str, side: int, cuts: int, classes: int, gradient_target: str = "bootstrapped"
) -> st.DecoupledModel:
    """Return a split and compiled ResNet50."""
    keras.utils.set_random_seed(0)
    stages = st.split(imagenet.resnet50(side, classes), at=imagenet.CUTS[cuts])
    critic = st.synthetic.imagenet_critic
    decoupled = st.DecoupledModel(stages, critic, method, gradient_target=gradient_target)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    decoupled.compile(keras.optimizers.SGD(0.01, momentum=0.9), keras.optimizers.Adam(1e-4), loss)
    return decoupled


def _images_a_second(stream, batches):
    """Return images a second of this process's processor time, and of wall-clock time.

    The iterator is new, and gone afterwards: it would read ahead while the other is timed.
    """
    stream = iter(stream)
    size = len(next(stream)[0])
    start = np.array([time.process_time(), time.perf_counter()])
    for _ in range(batches):
        next(stream)
    return size * batches / ([time.process_time(), time.perf_counter()] - start)


def _decode_all(size, batch_size):
    """As a Keras user would write it: TFDS decodes, then crop, resize, flip and normalize."""
    builder = tfds.builder("imagenet2012")
    flip = keras.layers.RandomFlip("horizontal", seed=0)
    variance = [deviation**2 for deviation in augment.STD]
    normalize = keras.layers.Normalization(mean=augment.MEAN, variance=variance)

    def draw(i, example):
        image = example["image"]
        top, left, height, width = tf.unstack(augment.inception_window(tf.shape(image), [0, i]))
        cropped = tf.image.crop_to_bounding_box(image, top, left, height, width)
        return flip(augment.resize(cropped, size)), example["label"]

    stream = builder.as_dataset(split="train", shuffle_files=False).repeat().enumerate()
    return (
        stream.map(draw, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .map(lambda images, labels: (normalize(images), labels))
        .prefetch(streams.PREFETCH)
    )
