"""train_on_batch, test_on_batch and predict_on_batch look at arrays as `fit` does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import DecoupledModel, PolicyDistiller, SobolevModel, nets, split
from sobolev_tf.synthetic import dense_critic

X = np.random.default_rng(0).uniform(-1, 1, [16, 2]).astype("float32")
Y = np.sum(X**2, 1, keepdims=True)
DY = 2 * X[:, None]
ONES = np.ones(16, "float32")


def spoilt(array, value, row=3):
    array = np.array(array)
    array[row] = value
    return array


def sobolev(**options):
    model = SobolevModel(nets.mlp(2, hidden=[4], activation="tanh"))
    model.compile("sgd", **options)
    return model


def distiller():
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dense(3)]
    model = PolicyDistiller(keras.Sequential([keras.Input([2]), *layers]), alpha=0)
    model.compile("sgd")
    return model


def decoupled():
    inputs = keras.Input([2])
    hidden = keras.layers.Dense(8, "relu", name="h1")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    model = DecoupledModel(split(net, at=["h1"]), critic=dense_critic)
    model.compile("sgd", "adam", keras.losses.MeanSquaredError())
    return model


LOGITS = np.random.default_rng(1).normal(size=[16, 3]).astype("float32")
MODELS = {
    "SobolevModel": (sobolev, (Y, DY), "label value"),
    "PolicyDistiller": (distiller, LOGITS, "label value"),
    "DecoupledModel": (decoupled, LOGITS, "y"),
}


def values(y, change):
    return (change(y[0]), *y[1:]) if isinstance(y, tuple) else change(y)


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_not_right_is_refused_in_one_line(kind):
    make, y, label = MODELS[kind]
    model = make()
    start = model.get_weights()
    wrong = {
        "x has NaN, first in row 3": (spoilt(X, np.nan), y),
        "x holds complex64": (X + 1j, y),
        "x is masked, first in row": (np.ma.masked_less(X, 0), y),
        f"{label} has infinity, first in row 3": (X, values(y, lambda a: spoilt(a, np.inf))),
        f"{label} holds object": (X, values(y, lambda a: a.astype(object))),
        "x has 4 rows": (X[:4], y),
        "sample_weight is -1 in row 3": (X, y, spoilt(ONES, -1)),
        "sample_weight has NaN": (X, y, spoilt(ONES, np.nan)),
        "there is no data": keras.tree.map_structure(lambda a: a[:0], (X, y)),
    }
    for message, passed in wrong.items():
        for method in ("train_on_batch", "test_on_batch"):
            with pytest.raises(ValueError) as error:
                getattr(model, method)(*passed)
            text = str(error.value)
            assert text.startswith(f"{kind}.{method}: ")
            assert message in text
            assert len(text.splitlines()) == 1
    for x in (spoilt(X, np.nan), X + 1j, np.ma.masked_less(X, 0), X.astype(object)):
        with pytest.raises(ValueError, match=f"^{kind}.predict_on_batch: x "):
            model.predict_on_batch(x)
    for one, other in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_labels_of_another_shape_are_named():
    for method in ("train_on_batch", "test_on_batch"):
        with pytest.raises(ValueError, match=r"label d1 has shape \[16, 1, 1\], expected"):
            getattr(sobolev(), method)(X, (Y, DY[..., :1]))
    with pytest.raises(ValueError, match=r"x has shape \[16, 1\], expected \[B, 2\]"):
        sobolev().train_on_batch(X[:, :1], (Y, DY))


def test_a_step_on_a_batch_is_a_step_of_fit():
    keras.utils.set_random_seed(0)
    model, weight = sobolev(), np.linspace(0, 1, 16).astype("float32")
    start = model.get_weights()
    loss = model.train_on_batch(X, (Y, DY), weight, return_dict=True)["loss"]
    after = model.get_weights()
    model.set_weights(start)
    history = model.fit(X, (Y, DY), sample_weight=weight, batch_size=16, shuffle=False, verbose=0)
    assert loss == pytest.approx(history.history["loss"][0], rel=1e-6)
    for one, other in zip(after, model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)


def test_right_batches_of_any_form_pass():
    model = sobolev(missing="nan")
    missing = (Y, spoilt(DY, np.nan))
    for y in (missing, {"d1": DY}, (None, DY), Y, {"jvp": Y, "directions": X}):
        assert np.isfinite(model.train_on_batch(X, y)).all()
    assert np.isfinite(
        model.train_on_batch(tf.constant(X), (tf.constant(Y), tf.constant(DY)))
    ).all()
    np.testing.assert_array_equal(model.predict_on_batch(X), model.predict(X, verbose=0))
    np.testing.assert_array_equal(model.predict_on_batch(X.tolist()), model.predict_on_batch(X))
    masked_action = spoilt(LOGITS, [-np.inf, 0, 0])
    assert len(distiller().test_on_batch(X, masked_action)) > 0


def test_predict_refuses_numbers_that_it_would_change():
    for x in (X + 1j, np.ma.masked_less(X, 0), X.astype(object)):
        with pytest.raises(ValueError, match=r"^SobolevModel.predict: x "):
            sobolev().predict(x, verbose=0)
    assert np.isnan(sobolev().predict(spoilt(X, np.nan), verbose=0)[3])


@pytest.mark.parametrize("name", MODELS)
def test_predict_reads_iterators(name):
    model = MODELS[name][0]()
    expected = model.predict(X, verbose=0)
    for data in (iter([X[:8], X[8:]]), (half for half in (X[:8], X[8:])), zip([X[:8], X[8:]])):
        np.testing.assert_allclose(model.predict(data, steps=2, verbose=0), expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("name", MODELS)
def test_predict_refuses_data_without_rows(name):
    model = MODELS[name][0]()
    for empty in (X[:0], tf.data.Dataset.from_tensor_slices(X[:0]).batch(4)):
        with pytest.raises(ValueError, match=rf"^{name}.predict: there is no data\.$"):
            model.predict(empty, verbose=0)
