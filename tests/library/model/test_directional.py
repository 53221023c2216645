"""Labels along directions that come with them, in place of full derivatives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.small import DY, X, Y, compiled, smooth, truth


def test_directional_labels_are_the_projected_full_ones():
    rng = np.random.default_rng(1)
    v = rng.normal(size=[64, 4, 3]).astype("float32")
    u = rng.normal(size=[64, 2]).astype("float32")
    labels = {
        "jvp": np.einsum("bki,bpi->bpk", DY, v),
        "vjp": np.einsum("bki,bk->bi", DY, u),
        "directions": {"jvp": v, "vjp": u},
    }
    model = compiled(loss_weights={"vjp": 0.5})
    logs = model.evaluate(X, labels, verbose=0, return_dict=True)
    error = model.predict_jet(X).derivatives[0] - DY
    jvp = np.mean(np.sum(np.einsum("bki,bpi->bpk", error, v) ** 2, 2))
    vjp = np.mean(np.sum(np.einsum("bki,bk->bi", error, u) ** 2, 1))
    assert logs["jvp_loss"] == pytest.approx(jvp, rel=1e-4)
    assert logs["vjp_loss"] == pytest.approx(vjp, rel=1e-4)
    assert logs["loss"] == pytest.approx(jvp + 0.5 * vjp, rel=1e-4)
    history = model.fit(X, {"value": Y, **labels}, verbose=0, epochs=3).history
    assert set(history) == {"loss", "value_loss", "jvp_loss", "vjp_loss"}
    assert history["jvp_loss"][-1] < history["jvp_loss"][0]


def test_one_direction_of_a_net_of_one_output_takes_the_short_forms():
    x, y, v = X[:, :2], X[:, 0], np.ones([64, 2], "float32")
    model = compiled(smooth(1, 2))
    logs = model.evaluate(x, {"jvp": y, "directions": v}, verbose=0, return_dict=True)
    error = model.predict_jet(x).derivatives[0].sum((1, 2)) - y
    assert logs["jvp_loss"] == pytest.approx(np.mean(error**2), rel=1e-4)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"jvp": Y}, "jvp but no directions"),
        ({"jvp": Y, "directions": X[:, :2]}, r"directions of jvp have shape \[\w+, 2\]"),
        ({"jvp": X, "directions": X}, r"label jvp has shape \[\w+, 3\], expected \[B, 1, 2\]"),
        ({"jvp": Y, "vjp": X, "directions": X}, "as a dict of jvp and vjp"),
    ],
)
def test_wrong_directional_labels_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        compiled().fit(X, labels, verbose=0)


def test_directional_labels_are_scaled_too():
    v = np.random.default_rng(1).normal(size=[64, 3]).astype("float32")
    labels = {"jvp": np.einsum("bki,bi->bk", DY, v), "directions": v}
    model = compiled()
    model.adapt(X, (Y, DY))
    logs = model.evaluate(X, labels, verbose=0, return_dict=True)
    error = np.einsum("bki,bi->bk", model.predict_jet(X).derivatives[0] - DY, v) / Y.std(0)
    assert logs["jvp_loss"] == pytest.approx(np.mean(np.sum(error**2, 1)), rel=1e-3)
    perfect = compiled(target=truth)
    perfect.adapt(X)
    u = v[:, :2]
    exact = {"value": Y, "vjp": np.einsum("bki,bk->bi", DY, u), "directions": u}
    jet = model.predict_jet(X)
    exact["vjp"] = np.einsum("bki,bk->bi", jet.derivatives[0], u)
    exact["value"] = jet.value
    logs = model.evaluate(X, exact, verbose=0, return_dict=True)
    assert logs["vjp_loss"] < 1e-6


def test_metrics_along_directions_are_raw():
    v = np.random.default_rng(1).normal(size=[64, 3]).astype("float32")
    u = v[:, :2]
    model = compiled(jet_metrics=["rmse"])
    model.adapt(X, (Y, DY))
    labels = {"jvp": np.einsum("bki,bi->bk", DY, v), "vjp": np.einsum("bki,bk->bi", DY, u)}
    labeled = {**labels, "directions": {"jvp": v, "vjp": u}}
    logs = model.evaluate(X, labeled, verbose=0, return_dict=True)
    d1 = model.predict_jet(X).derivatives[0]
    error = np.einsum("bki,bi->bk", d1, v) - labels["jvp"]
    assert logs["jvp_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-3)
    error = np.einsum("bki,bk->bi", d1, u) - labels["vjp"]
    assert logs["vjp_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-3)


def test_full_derivatives_serve_given_directions_too():
    calls = []

    class Counted(keras.layers.Layer):
        def call(self, x):
            calls.append(1)
            return x

    net = keras.Sequential([keras.Input([3]), Counted(), *smooth().layers])
    model = compiled(net)
    labels = {"d1": DY, "jvp": Y, "vjp": X, "directions": {"jvp": X, "vjp": Y}}
    model.evaluate(X, labels, batch_size=64, verbose=0)
    calls.clear()
    model._step((tf.constant(X), labels), training=False)
    assert len(calls) == 1


def test_a_step_with_several_kinds_of_directions_moves_layers_state_once():
    normalization = keras.layers.BatchNormalization(momentum=0.5)
    net = keras.Sequential([keras.Input([3]), normalization, keras.layers.Dense(2)])
    model = compiled(net)
    labels = {"jvp": Y, "vjp": X, "directions": {"jvp": X, "vjp": Y}}
    with pytest.warns(UserWarning, match="normalizes over the batch"):
        model.fit(X, labels, batch_size=64, verbose=0)
    np.testing.assert_allclose(normalization.moving_mean, X.mean(0) / 2, atol=1e-6)


def test_products_along_inputs_and_outputs_drop_the_same_units():
    """<u, J v> is the same from both sides."""
    dropout = keras.layers.Dropout(0.5, seed=0)
    net = keras.Sequential(
        [keras.Input([3]), keras.layers.Dense(16, "tanh"), dropout, keras.layers.Dense(2)]
    )
    directions = {"jvp": tf.constant(X), "vjp": tf.constant(Y)}
    products = compiled(net).equation.full_terms(tf.constant(X), directions, 0, training=True)
    along = np.sum(products["jvp"][:, 0] * Y, 1), np.sum(products["vjp"][:, 0] * X, 1)
    np.testing.assert_allclose(*along, rtol=1e-4, atol=1e-4)
