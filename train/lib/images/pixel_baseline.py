"""A baseline for any network: logistic regression on the pixels."""

import keras
import numpy as np

from train.lib.images.streams import Images


def pixel_baseline(
    images: Images, examples: int = 15_000, epochs: int = 10, learning_rate: float = 1e-4
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
    steps = max(1, examples // images.batch_size)
    x, y = _as_arrays(images.train_stream().take(steps))
    x_test, y_test = _as_arrays(images.eval_dataset())
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(images.num_classes)])
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=128, epochs=epochs, verbose=0)
    return model.evaluate(x_test, y_test, batch_size=500, verbose=0)[1]


def _as_arrays(dataset):
    inputs, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(inputs), np.concatenate(labels)
