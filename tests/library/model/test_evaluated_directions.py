"""The random directions of evaluations: others for every row, the same every time."""

import keras
import numpy as np
import pytest

from sobolev_tf import SobolevModel

ROWS = 256
X = np.zeros([ROWS, 2], "f")
LABELS = np.zeros([ROWS, 1], "f"), np.tile(np.array([[[2.0, 0.0]]], "f"), [ROWS, 1, 1])


def flat(**settings):
    """A model of slopes [0, 0]: its d1_loss is the mean of 4 cos² over the directions."""
    net = keras.Sequential([keras.Input([2]), keras.layers.Dense(1, kernel_initializer="zeros")])
    model = SobolevModel(net, projection="input", seed=3)
    model.compile(keras.optimizers.SGD(0.0), **settings)
    return model


def d1_loss(model, batch_size):
    logs = model.evaluate(X, LABELS, batch_size=batch_size, verbose=0, return_dict=True)
    return logs["d1_loss"]


@pytest.mark.parametrize(
    "settings", [{}, {"steps_per_execution": 8}, {"jit_compile": True}], ids=str
)
def test_small_batches_do_not_share_one_direction(settings):
    """4 cos² has the mean 2 and the variance 2: over 256 rows, 2 within four deviations."""
    model = flat(**settings)
    losses = [d1_loss(model, size) for size in (1, 32, ROWS)]
    assert losses == pytest.approx([2.0] * 3, abs=4 * np.sqrt(2 / ROWS))
    assert len(set(losses)) == 3
    assert d1_loss(model, 32) == losses[1]


def test_validation_and_full_batch_solvers_use_the_same_directions():
    model = flat()
    held_out = {"validation_data": (X, LABELS), "validation_batch_size": 32, "verbose": 0}
    history = model.fit(X, LABELS, epochs=2, **held_out).history
    expected = d1_loss(model, 32)
    assert history["val_d1_loss"] == pytest.approx([expected] * 2, rel=1e-6)
    assert float(model.problem(X, LABELS).loss()) == pytest.approx(d1_loss(model, ROWS), rel=1e-5)
