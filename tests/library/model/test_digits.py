"""Numbers far from zero: what float64 nets compare, and what float32 cannot."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import SobolevModel, nets
from sobolev_tf.model.statistics import Moments

X = np.random.default_rng(0).uniform(-1, 1, [32, 2])
OFFSET = -291230.0
Y = OFFSET + 0.05 * np.sin(3 * X[:, :1])
DY = np.stack([0.15 * np.cos(3 * X[:, 0]), np.zeros(32)], 1)[:, None]


def compiled(dtype=None, **options):
    model = SobolevModel(nets.mlp(2, hidden=[8], activation="tanh", dtype=dtype))
    model.adapt(X, (Y, DY))
    model.compile(keras.optimizers.SGD(0.0), **options)
    return model


@pytest.mark.parametrize("options", [{}, {"steps_per_epoch": 1}])
def test_a_float64_net_is_compared_with_the_labels_as_they_are(options):
    model = compiled("float64", jet_metrics=["rmse"], metrics=["mae"])
    predicted = model.predict(X, verbose=0)
    assert predicted.dtype == np.float64
    np.testing.assert_array_equal(predicted, model.predict_jet(X).value)
    error = predicted - Y
    rmse = np.sqrt(np.mean(error**2))
    loss = np.mean(error**2) / float(model.scaling.value_deviation[0]) ** 2
    stream = tf.data.Dataset.from_tensor_slices((X, (Y, DY))).batch(32)

    class Batches(keras.utils.PyDataset):
        def __init__(self):
            super().__init__()

        def __len__(self):
            return 2

        def __getitem__(self, i):
            return X[16 * i : 16 * i + 16], [a[16 * i : 16 * i + 16] for a in (Y, DY)]

    generator = (Batches()[i] for i in range(2))
    told = [
        model.evaluate(Batches(), verbose=0, return_dict=True),
        model.evaluate(generator, steps=2, verbose=0, return_dict=True),
        model.evaluate(X, (Y, DY), 32, verbose=0, return_dict=True),
        model.evaluate(stream, verbose=0, return_dict=True),
    ]
    history = model.fit(X, (Y, DY), 32, validation_data=(X, (Y, DY)), verbose=0, **options).history
    told.append({name: values[0] for name, values in history.items()})
    told.append({name: history[f"val_{name}"][0] for name in ("value_loss", "value_rmse", "mae")})
    for logs in told:
        assert logs["value_loss"] == pytest.approx(loss, rel=1e-5)
        assert logs["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-5)
        assert logs["value_rmse"] == pytest.approx(rmse, rel=1e-5)


def test_a_float64_net_is_split_shuffled_and_weighted_as_any():
    weight = np.linspace(0, 2, 32)
    model = compiled("float64")
    history = model.fit(
        X, (Y, DY), 8, validation_split=0.25, sample_weight=weight, epochs=2, verbose=0
    ).history
    held = model.evaluate(X[24:], (Y[24:], DY[24:]), 8, 0, weight[24:], return_dict=True)
    assert history["val_loss"][-1] == pytest.approx(held["loss"], rel=1e-6)
    orders = []
    model = SobolevModel(nets.mlp(2, hidden=[2], dtype="float64"), order=0)
    model.compile("sgd", run_eagerly=True)
    model.train_step = lambda data: orders.extend(data[0][:, 0].numpy()) or {"loss": 0.0}
    model.fit(X, Y, 8, epochs=2, verbose=0)
    assert sorted(orders[:32]) == sorted(X[:, 0]) == sorted(orders[32:])
    assert orders[:32] != orders[32:]


def test_far_away_values_keep_their_place():
    """A mean of 1e9 in float32 would be 64 away; deviations are 0.05."""
    model = SobolevModel(nets.mlp(2, hidden=[8], dtype="float64"))
    model.adapt(X, (Y - OFFSET + 1e9, DY))
    assert abs(float(model.scaling.value_mean[0]) - (Y - OFFSET + 1e9).mean()) < 1e-4


def test_what_float32_cannot_hold_is_one_warning():
    model = compiled()
    with pytest.warns(
        UserWarning, match=r"label value varies by .* float32 holds [01] of its digits"
    ) as told:
        model.fit(X, (Y, DY), verbose=0)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, (Y, DY), verbose=0)
    with pytest.warns(UserWarning, match=r"x, component 1, varies"):
        model.fit(X + [0, 1e7], (Y, DY), verbose=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ordinary_and_constant_numbers_are_no_warning(dtype):
    model = SobolevModel(nets.mlp(2, hidden=[8]))
    model.compile("sgd")
    x, dy = X.astype(dtype), DY.astype(dtype)
    ordinary = (
        300 + np.sin(x[:, :1]),
        0.1 * np.ones([32, 1]) * 3,
        np.zeros([32, 1]),
        1e9 * x[:, :1],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for y in ordinary:
            model.fit(x, (y.astype(dtype), dy), verbose=0)


def test_spread_is_judged_by_the_digits_of_the_numbers():
    small = 1 + 1e-9 * np.arange(4.0)
    for float64, has_spread in ((True, True), (False, False)):
        moments = Moments(float64)
        moments.add(small[:, None])
        assert moments.has_spread.tolist() == [has_spread]
    constant = Moments(float64=True)
    constant.add(np.full([7, 1], 0.1))
    assert constant.deviation.tolist() == [1.0]


def test_digits_are_those_of_the_training_data():
    x = np.linspace(-1, 1, 64)[:, None].astype("float32")
    far, near = 2**25 + np.arange(64)[:, None], np.zeros([64, 1], "float32")

    def fitted(y, held_out):
        model = SobolevModel(nets.mlp(1, hidden=[4]), order=0)
        model.compile("sgd")
        model.fit(x, y, validation_data=(x, held_out), verbose=0)

    with pytest.warns(UserWarning, match="label value varies by 63 around"):
        fitted(far, near)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(far.astype("int64") % 3, far.astype("float32"))
