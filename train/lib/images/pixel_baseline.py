"""A baseline for any network: logistic regression on the pixels."""

import keras
import numpy as np

from train.lib.images.streams import Images
from train.lib.run import memory

EXAMPLES = 15_000  # images of the training stream to learn from


def refuse_too_large(images: Images) -> None:
    """Raise UsageError if the pixels and the regression are more than the machine has memory."""
    pixels = images.image_size**2 * 3
    examples = _steps(images, EXAMPLES) * images.batch_size
    weights = 3 * pixels * images.num_classes  # with Adam's moments
    memory.refuse_more_than_there_is(
        f"--pixel_baseline with {examples} images of {images.image_size}x{images.image_size}",
        memory.FLOAT * (examples * pixels + weights),
    )


def pixel_baseline(
    images: Images, examples: int = EXAMPLES, epochs: int = 10, learning_rate: float = 1e-4
) -> float:
    """Train softmax(W x + b) on the pixels with Adam.

    Args:
      images: what `datasets.load` returns.
      examples: how many images of the training stream to learn from.
      epochs: passes over them.
      learning_rate: Adam's.

    Returns:
      The accuracy on the held-out images, 0 to 1.
    """
    x, y = _training_arrays(images, _steps(images, examples))
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(images.num_classes)])
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=128, epochs=epochs, verbose=0)
    return model.evaluate(images.eval_dataset(), verbose=0)[1]


def _steps(images, examples):
    return max(1, examples // images.batch_size)


def _training_arrays(images, steps):
    """Return the first batches as two arrays, without a list of them that doubles the memory."""
    side, size = images.image_size, images.batch_size
    x = np.empty([steps, size, side, side, 3], "float32")
    y = np.empty([steps, size], "int32")
    batches = images.train_stream().take(steps).as_numpy_iterator()
    for step, batch in enumerate(batches):
        x[step], y[step] = batch
    return x.reshape([-1, *x.shape[2:]]), y.ravel()
