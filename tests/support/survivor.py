"""A tiny run to kill: a convnet with dropout, batch norm and momentum on random images.

python -m tests.support.survivor --workdir=runs/survivor --deterministic
"""

import time

from train.lib.run import cli, progress, resumable, run_folder, seeding, strategies  # isort: skip: quiets TensorFlow

import keras
import numpy as np
import tensorflow as tf
from absl import flags

PRESETS = {"small": {"epochs": 3, "steps": 40, "strategy": "none"}}
FLAGS = cli.common_flags(PRESETS)
flags.DEFINE_float("learning_rate", 0.01, "Learning rate.", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_float("pause", 0.0, "Seconds to wait after a step.", flag_values=FLAGS)
flags.DEFINE_integer("steps_per_execution", 1, "Steps in one execution.", 1, flag_values=FLAGS)


def stream(seed, start_step, batch=8):
    """Return an endless stream of random images [B,8,8,1] and labels [B]."""

    def draw(step):
        key = tf.stack([tf.cast(seed, tf.int64), step])
        labels = tf.random.stateless_uniform([batch], key, maxval=4, dtype=tf.int32)
        noise = tf.random.stateless_normal([batch, 8, 8, 1], key)
        return noise + tf.cast(labels, tf.float32)[:, None, None, None], labels

    return tf.data.Dataset.counter(start_step).map(draw)


def build(learning_rate, jit_compile=False, steps_per_execution=1):
    """Return the compiled convnet."""
    model = keras.Sequential(
        [
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.SpatialDropout2D(0.2),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(4),
        ]
    )
    model.compile(
        keras.optimizers.SGD(learning_rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile,
        steps_per_execution=steps_per_execution,
    )
    return model


class Pause(keras.callbacks.Callback):
    """A callback that makes steps long enough to be hit."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(self.seconds)


def main(settings):
    seeding.seed_everything(settings)
    workdir = cli.workdir(settings)
    with run_folder.Run(workdir, settings.stored(), cli.script(), ["pause"]) as run:
        with strategies.strategy(settings).scope():
            model = build(
                settings.learning_rate, settings.jit_compile, settings.steps_per_execution
            )
        rows = resumable.fit(
            model,
            lambda step: stream(settings.seed, step),
            run,
            settings.epochs,
            settings.steps,
            validation_data=stream(settings.seed + 1, 0).take(4),
            callbacks=[
                Pause(settings.pause),
                progress.Progress(settings.epochs * settings.steps, seconds=0),
            ],
            verbose=0,
            saving=resumable.Saving(steps=7, monitor="val_loss", mode="min"),
        )
        run.write_summary(rows[-1])
        with open(run.path("weights.npz"), "wb") as file:
            np.savez(file, *[keras.ops.convert_to_numpy(v) for v in model.variables])


if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
