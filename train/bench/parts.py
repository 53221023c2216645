"""Training in parts: what a step costs over backpropagation, and how fast images come."""

import os
import sys

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

import sobolev_tf as st
from train import imagenet
from train.bench import benchmark, cost
from train.lib import augment, data

SIDE, BATCH = 64, 32


def rows(turns: int = 4, calls: int = 2):
    yield from step(turns, calls)
    yield from pipeline(turns)


def step(turns, calls):
    """ResNet50 with three cuts: a Sobolev step, diagnostics and all, over backpropagation's."""
    rng = np.random.default_rng(0)
    batch = rng.normal(size=[BATCH, SIDE, SIDE, 3]).astype("float32"), rng.integers(0, 50, BATCH)
    models = [_model(method) for method in ("sobolev", "backprop")]
    counts = [cost.products(model, batch) for model in models]
    name = f"ResNet50 at {SIDE}x{SIDE}, 3 cuts, sobolev over backprop"
    yield f"{name}: ratio of arithmetic counts", counts[0] / counts[1]
    times = benchmark.in_turns([benchmark.runner(model, batch) for model in models], calls, turns)
    ratio = np.median(times[:, 0] / times[:, 1])
    yield f"{name}: ratio of steps (bar 1.15 of its arithmetic count)", ratio
    yield f"{name}: seconds a step", np.median(times[:, 0])


def pipeline(turns, images=64, size=224):
    """Images a second and core of the ImageNet pipeline, over decoding all, then augmenting."""
    if "imagenet2012" not in data.prepared():
        print("images a second: skipped, no imagenet2012 in TFDS_DATA_DIR", file=sys.stderr)
        return
    ours = data.load("imagenet2012", image_size=size, batch_size=16, augmentation="inception")
    streams = iter(ours.train_stream()), iter(_decode_all(size))
    times = benchmark.in_turns([_reader(stream) for stream in streams], images // 16, turns) / 16
    yield (
        f"ImageNet at {size}x{size}: images a second and core",
        1 / np.median(times[:, 0]) / os.cpu_count(),
    )
    ratio = np.median(times[:, 1] / times[:, 0])
    yield "the same over decoding all, then augmenting (bar 1.5)", ratio


def _model(method):
    keras.utils.set_random_seed(0)
    net = imagenet.resnet50(SIDE, 50)
    model = st.DecoupledModel(
        st.split(net, at=imagenet.CUTS[3]), st.synthetic.imagenet_critic, method
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), keras.optimizers.Adam(1e-4), loss)
    return model


def _reader(stream):
    def run(n):
        for _ in range(n):
            next(stream)

    return run


def _decode_all(size):
    """As a Keras user would write it: TFDS decodes, then crop, resize and flip."""
    builder = tfds.builder("imagenet2012")
    flip = keras.layers.RandomFlip("horizontal", seed=0)

    def draw(i, example):
        image = example["image"]
        top, left, height, width = tf.unstack(augment.inception_window(tf.shape(image), [0, i]))
        cropped = tf.image.crop_to_bounding_box(image, top, left, height, width)
        return flip(augment.resize(cropped, size)), example["label"]

    stream = builder.as_dataset(split="train", shuffle_files=False).repeat().enumerate()
    return stream.map(draw, num_parallel_calls=tf.data.AUTOTUNE).batch(16).prefetch(4)
