"""The floor for any network: logistic regression on the pixels."""

import keras
import numpy as np


def pixel_baseline(images, examples=15_000, epochs=10, rate=1e-4):
    """Trains softmax(W x + b) on `examples` of the stream; returns held-out top-1, 0..1.

    Args: images, what `data.load` returns; rate, of Adam.
    """
    steps = max(1, examples // images.batch_size)
    x, y = zip(*images.train_stream().take(steps).as_numpy_iterator(), strict=True)
    x_test, y_test = zip(*images.eval_dataset().as_numpy_iterator(), strict=True)
    x, y, x_test, y_test = (np.concatenate(part) for part in (x, y, x_test, y_test))
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(images.classes)])
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=128, epochs=epochs, verbose=0)
    return model.evaluate(x_test, y_test, batch_size=500, verbose=0)[1]
