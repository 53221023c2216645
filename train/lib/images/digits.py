"""scikit-learn's 1,797 handwritten digits of 8x8 pixels, split once and for all."""

import numpy as np

NUM_TEST = 500

Labeled = tuple[np.ndarray, np.ndarray]


def load() -> tuple[Labeled, Labeled]:
    """Return (images [B,64] of 0..1, classes [B]) for training and for testing, always the same."""
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = (images[order] / 16).astype("float32"), classes[order].astype("int32")
    return (x[NUM_TEST:], y[NUM_TEST:]), (x[:NUM_TEST], y[:NUM_TEST])
