"""The SavedModel of a run, compared with the model."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf.keras_support import directories
from train.lib.run.errors import CommandError


def save(model: keras.Model, path: Path, inputs: Any) -> float:
    """Save a model as SavedModel, load it with TensorFlow only, and compare the outputs.

    Args:
      model: a model with `export`.
      path: the folder to write.
      inputs: a batch on which both are compared.

    Returns:
      The largest difference of two outputs, relative to the largest output.

    Raises:
      CommandError: if the outputs differ by more than rounding, or are not finite.
    """
    directories.remove_leftovers(path)
    try:
        model.export(path)
    except tf.errors.ResourceExhaustedError as error:
        raise CommandError(
            f"{path}: {error.message}; make room, the same command resumes"
        ) from error
    saved = tf.saved_model.load(str(path)).signatures["serving_default"]
    [outputs] = saved(tf.convert_to_tensor(inputs)).values()
    expected = model(inputs, training=False)
    if not np.isfinite(expected).all():
        raise CommandError(
            f"the model's outputs for {path.parent}'s test images are not finite: it diverged; "
            "try a lower learning rate in another --workdir"
        )
    difference = np.abs(outputs - expected).max() / max(np.abs(expected).max(), 1e-30)
    if not difference < 1e-3:
        raise CommandError(
            f"{path}'s outputs differ from the model's by {difference:.2g} of the largest one"
        )
    return float(difference)
