"""Seeds of everything random."""

import keras
import tensorflow as tf

from train.lib.run.settings import Settings


def seed_everything(settings: Settings) -> None:
    """Seed Python, NumPy and Keras; --deterministic makes TensorFlow's ops deterministic."""
    keras.utils.set_random_seed(settings.seed)
    if "deterministic" in settings and settings.deterministic:
        tf.config.experimental.enable_op_determinism()
