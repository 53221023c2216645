"""The callbacks of a run on images."""

from collections.abc import Sequence

import keras

from train.lib.run import progress
from train.lib.run.run_folder import Run
from train.lib.run.settings import Settings


def make_callbacks(
    settings: Settings, run: Run, cuts: Sequence[str], steps: int
) -> list[keras.callbacks.Callback]:
    """Return the progress line and, with --tensorboard, Keras's events in the run folder."""
    cosines = [f"cut{k}_cosine" for k in range(1, len(cuts) + 1)]
    names = ["loss", "accuracy", "val_accuracy", *cosines]
    callbacks: list[keras.callbacks.Callback] = [progress.Progress(steps, names)]
    if settings.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(run.path("tensorboard"), write_graph=False))
    return callbacks
