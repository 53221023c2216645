"""R² of labels far from zero is that of a float64 formula, whatever the batches."""

import keras
import numpy as np
import pytest

from sobolev_tf import SobolevModel, nets
from tests.support.cases import slow

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, [400, 2]).astype("float32")
SLOPES = np.stack([3 * np.cos(3 * X[:, 0]), np.zeros(400)], 1)[:, None]


def labels(offset):
    """Values and slopes around an offset, as float32 rounds them."""
    y = (offset + np.sin(3 * X[:, :1])).astype("float32")
    return y, (offset + SLOPES).astype("float32")


def r2(true, predicted, weights=1.0):
    """1 - |e|² / |y - mean|², all components together, in float64."""
    true, predicted = (np.reshape(a, [len(a), -1]).astype("float64") for a in (true, predicted))
    weights = np.broadcast_to(np.reshape(weights, [-1, 1]), [len(true), 1])
    mean = np.average(true, axis=0, weights=weights[:, 0])
    return 1 - np.sum(weights * (true - predicted) ** 2) / np.sum(weights * (true - mean) ** 2)


class Near(keras.Model):
    """A net whose values, or slopes, are near labels around an offset, in float32."""

    def __init__(self, offset, slope=0.0):
        super().__init__()
        self.offset, self.slope = offset, slope

    def call(self, x):
        plane = self.offset + self.slope * keras.ops.sum(x, 1, keepdims=True)
        return plane + 0.9 * keras.ops.sin(3 * x[:, :1]) + 0.05 * x[:, 1:]


OFFSETS = pytest.mark.parametrize("offset", [*slow(0.0, 1e3), 1e4])


def trained(offset, dtype=None, **settings):
    keras.utils.set_random_seed(0)
    model = SobolevModel(nets.mlp(2, hidden=[8], activation="tanh", dtype=dtype))
    model.adapt(X, labels(offset))
    model.compile(keras.optimizers.Adam(0.03), jet_metrics=["rmse", "r2"], **settings)
    model.fit(X, labels(offset)[0], batch_size=20, epochs=3, verbose=0)
    return model


@OFFSETS
def test_values(offset):
    model, (y, _) = trained(offset), labels(offset)
    for batch_size in (64, 400):
        logs = model.evaluate(X, y, batch_size, verbose=0, return_dict=True)
        # As far as predictions in float32, which are rounded, can tell.
        assert logs["value_r2"] == pytest.approx(r2(y, model.predict(X, verbose=0)), abs=1e-4)
        assert 0.3 < logs["value_r2"] < 1


@OFFSETS
def test_slopes(offset):
    model, (_, dy) = SobolevModel(Near(0.0, slope=offset)), labels(offset)
    v = np.tile(np.float32([1, 0]), [400, 1])
    model.compile("sgd", jet_metrics="r2", run_eagerly=True)
    jvp = {"jvp": dy[:, :, 0], "directions": v}
    slopes = model.predict_jet(X).derivatives[0]
    for batch_size in (64, 400):
        logs = model.evaluate(X, {"d1": dy, **jvp}, batch_size, verbose=0, return_dict=True)
        assert logs["d1_r2"] == pytest.approx(r2(dy, slopes), abs=1e-3)
        assert logs["jvp_r2"] == pytest.approx(r2(dy[:, :, 0], slopes[:, :, 0]), abs=1e-3)
        assert 0.9 < logs["jvp_r2"] < 1


@OFFSETS
def test_values_of_a_model_without_their_mean(offset):
    model, (y, _) = SobolevModel(Near(offset)), labels(offset)
    model.compile("sgd", jet_metrics="r2", metrics=["r2_score"], run_eagerly=True)
    expected = r2(y, model.predict(X, verbose=0))
    for batch_size in (64, 400):
        logs = model.evaluate(X, y, batch_size, verbose=0, return_dict=True)
        assert logs["value_r2"] == pytest.approx(expected, abs=1e-6)
        assert logs["r2_score"] == pytest.approx(expected, abs=1e-6)


def test_missing_and_weighted_rows():
    model, (y, _) = trained(1e4, missing="nan"), labels(1e4)
    weights = RNG.uniform(0, 2, 400).astype("float32")
    known = np.arange(400) % 3 > 0
    holed = np.where(known[:, None], y, np.nan)
    logs = model.evaluate(X, holed, 64, 0, weights, return_dict=True)
    predicted = model.predict(X, verbose=0)
    expected = r2(y[known], predicted[known], weights[known])
    assert logs["value_r2"] == pytest.approx(expected, abs=1e-4)


def test_on_two_replicas(two_replicas):
    y, _ = labels(1e4)
    with two_replicas.scope():
        model = trained(1e4, jit_compile=False)
        logs = model.evaluate(X, y, 64, verbose=0, return_dict=True)
        predicted = model.predict(X, verbose=0)
    assert logs["value_r2"] == pytest.approx(r2(y, predicted), abs=1e-4)


def test_under_xla():
    model, (y, _) = trained(1e4, jit_compile=True, steps_per_execution=4), labels(1e4)
    logs = model.evaluate(X, y, 100, verbose=0, return_dict=True)
    assert logs["value_r2"] == pytest.approx(r2(y, model.predict(X, verbose=0)), abs=1e-4)


def test_in_mixed_precision():
    model, (y, _) = trained(1e3, "mixed_float16"), labels(1e3)
    logs = model.evaluate(X, y, 64, verbose=0, return_dict=True)
    # The net's float16 numbers round with the program that computes them.
    assert logs["value_r2"] == pytest.approx(r2(y, model.predict(X, verbose=0)), abs=1e-2)


def test_in_float64_where_the_offset_has_most_of_its_digits():
    y = -291230 + 0.001 * np.sin(3 * X[:, :1].astype("float64"))
    model = SobolevModel(nets.mlp(2, hidden=[8], activation="tanh", dtype="float64"), order=0)
    model.adapt(X, y)
    model.compile(keras.optimizers.Adam(0.01), jet_metrics="r2")
    model.fit(X, y, batch_size=100, epochs=3, verbose=0)
    logs = model.evaluate(X, y, 64, verbose=0, return_dict=True)
    assert logs["value_r2"] == pytest.approx(r2(y, model.predict(X, verbose=0)), abs=1e-4)


def test_keras_r2_score_by_name_is_saved(tmp_path):
    model, (y, _) = trained(1e4, weighted_metrics=["r2_score", "mae"]), labels(1e4)
    expected = pytest.approx(r2(y, model.predict(X, verbose=0)), abs=1e-4)
    assert model.evaluate(X, y, 64, verbose=0, return_dict=True)["r2_score"] == expected
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.evaluate(X, y, 64, verbose=0, return_dict=True)["r2_score"] == expected


def test_errors_of_a_constant_component_count():
    """Two outputs: 5, predicted as 6; and x of variance 4, as x."""
    x = np.array([[-2.0], [2.0]], "f")
    net = keras.Sequential([keras.Input([1]), keras.layers.Dense(2)])
    net.set_weights([np.array([[0.0, 1.0]]), np.array([6.0, 0.0])])
    model = SobolevModel(net, order=0)
    model.compile("sgd", jet_metrics="r2")
    logs = model.evaluate(x, np.hstack([5 + 0 * x, x]), verbose=0, return_dict=True)
    assert logs["value_r2"] == pytest.approx(1 - 2 / 8)
    logs = model.evaluate(x, np.hstack([6 + 0 * x, x]), verbose=0, return_dict=True)
    assert logs["value_r2"] == pytest.approx(1)


def test_adapt_between_two_batches_starts_anew():
    model, (y, _) = SobolevModel(nets.mlp(2, hidden=[8])), labels(1e3)
    model.compile(keras.optimizers.SGD(0.0), jet_metrics="r2", run_eagerly=True)
    model.train_on_batch(X, y)
    model.adapt(X, y)
    logs = model.train_on_batch(X, y, return_dict=True)
    assert logs["value_r2"] == pytest.approx(r2(y, model.predict(X, verbose=0)), abs=1e-3)
