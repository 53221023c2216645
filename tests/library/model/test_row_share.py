"""compile(derivative_share=...): the derivatives of some rows of a batch, the values of all."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import PolicyDistiller, SobolevModel, nets, row_share

RNG = np.random.default_rng(0)
X = RNG.normal(size=[8, 2]).astype("float32")
Y, DY = np.sin(X).sum(1, keepdims=True), np.cos(X)[:, None]


def drawn(step, share=0.25, rows=8):
    return row_share.draw(tf.range(rows), share, tf.constant(step, tf.int64)).numpy()


def compiled(rate=0.0, share=0.25, net=None, **settings):
    net = net or nets.mlp(2, hidden=[4], activation="tanh")
    model = SobolevModel(net, **settings)
    model.compile(keras.optimizers.SGD(rate), derivative_share=share, jet_metrics=["rmse"])
    return model


@pytest.mark.parametrize(("share", "rows", "count"), [(0.25, 8, 2), (0.3, 8, 3), (0.01, 8, 1)])
def test_the_number_of_rows_is_rounded_up(share, rows, count):
    assert len(set(drawn(0, share, rows))) == count


def test_every_row_is_drawn_as_often():
    """3 of 8 rows, 400 steps: each row is in 150 of them, with a deviation of 10."""
    counts = np.bincount(np.concatenate([drawn(step, 0.3) for step in range(400)]), minlength=8)
    assert np.all(np.abs(counts - 150) < 40)


def test_a_step_learns_from_all_values_and_the_drawn_derivatives():
    """SGD at rate 1 moves the weights by the gradient of the loss by hand."""
    keras.utils.set_random_seed(0)
    model = compiled(rate=1.0)
    before = model.net.get_weights()
    rows = drawn(0)
    with tf.GradientTape() as tape:
        with tf.GradientTape() as inner:
            x = tf.constant(X)
            inner.watch(x)
            value = model.net(x)
        slope = inner.gradient(value, x)
        values = tf.reduce_mean(tf.reduce_sum((value - Y) ** 2, 1))
        error = tf.gather(slope - DY[:, 0], rows)
        loss = values + tf.reduce_mean(tf.reduce_sum(error**2, 1))
    gradient = tape.gradient(loss, model.net.trainable_variables)
    history = model.fit(X, (Y, DY), batch_size=8, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"][0], loss, rtol=1e-5)
    np.testing.assert_allclose(history["value_loss"][0], values, rtol=1e-5)
    for old, step, new in zip(before, gradient, model.net.get_weights(), strict=True):
        np.testing.assert_allclose(new, old - step, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scaled", [False, True])
def test_each_part_of_an_accumulated_step_draws_rows_of_its_own(drawn_steps, scaled):
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model = SobolevModel(nets.mlp(2, hidden=[4], activation="tanh"))
    model.compile(optimizer, derivative_share=0.25, run_eagerly=True)
    model.fit(X, (Y, DY), batch_size=2, verbose=0)
    assert drawn_steps == [0, 1, 2, 3]


def test_evaluation_compares_all_rows():
    model, whole = compiled(), compiled(share=1.0)
    whole.set_weights(model.get_weights())
    one, two = (m.evaluate(X, (Y, DY), return_dict=True, verbose=0) for m in (model, whole))
    assert one == two


def test_weights_go_with_their_rows():
    """Weight 1 for one row, and zero elsewhere: d1_loss is that row's error over the drawn."""
    model, step = compiled(), 0
    weight = np.zeros(8, "float32")
    weight[drawn(step)[0]] = 1.0
    slopes = model.predict_jet(X).derivatives[0]
    history = model.fit(
        X, (Y, DY), batch_size=8, shuffle=False, sample_weight=weight, verbose=0
    ).history
    error = np.sum((slopes - DY) ** 2, (1, 2))[drawn(step)[0]]
    np.testing.assert_allclose(history["d1_loss"][0], error / 2, rtol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"projection": "input", "projections": 2}])
@pytest.mark.parametrize("live", [False, True])
def test_live_targets_projections_and_streams(settings, live):
    if live:
        settings = settings | {"target": lambda x: tf.reduce_sum(tf.sin(x), 1, keepdims=True)}
    model = compiled(**settings)
    data = X if live else (X, (Y, DY))
    stream = tf.data.Dataset.from_tensor_slices(data).batch(3)
    history = model.fit(stream, verbose=0).history
    assert np.isfinite(history["d1_loss"][0])
    assert history["d1_loss"][0] > 0


@pytest.mark.parametrize("side", ["input", "output"])
def test_directions_are_those_of_the_rows_that_were_drawn(side):
    """With batches of a known size, and slopes of which each row knows one of two."""
    model = compiled(projection=side)
    slopes = DY.copy()
    if side == "input":
        slopes[np.arange(8), 0, np.arange(8) % 2] = np.nan
        model.compile(keras.optimizers.SGD(0.1), derivative_share=0.25, missing="nan")
    stream = tf.data.Dataset.from_tensor_slices((X, (Y, slopes))).batch(4, drop_remainder=True)
    history = model.fit(stream, verbose=0).history
    assert history["d1_loss"][0] > 0
    assert np.isfinite(history["loss"][0])


def test_derivatives_without_values():
    model = compiled()
    history = model.fit(X, {"d1": DY}, verbose=0).history
    assert history["d1_loss"][0] > 0
    assert "value_loss" not in history


def test_students_of_policies():
    def net():
        return nets.mlp(2, 3, hidden=[4], activation="tanh")

    model = PolicyDistiller(net(), net(), alpha=1.0)
    model.compile(keras.optimizers.SGD(0.1), derivative_share=0.5)
    history = model.fit(X, verbose=0).history
    assert history["d1_loss"][0] > 0
    assert history["kl"][0] > 0


def test_a_saved_model_keeps_its_share(tmp_path):
    compiled().save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.objective.derivative_share == 0.25


@pytest.mark.parametrize("share", [0, 1.5, float("nan"), "half"])
def test_wrong_shares_are_refused(share):
    with pytest.raises(ValueError, match="compile: derivative_share is"):
        compiled(share=share)


@pytest.mark.slow
def test_xla_compiles_a_share():
    losses = []
    for options in ({"run_eagerly": True}, {"jit_compile": True}):
        keras.utils.set_random_seed(0)
        model = SobolevModel(nets.mlp(2, hidden=[4], activation="tanh"))
        model.compile(keras.optimizers.SGD(0.1), derivative_share=0.5, **options)
        data = tf.data.Dataset.from_tensor_slices((X, (Y, DY))).batch(4)
        losses.append(model.fit(data, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_the_number_of_rows_has_no_rounding_of_floats():
    assert len(drawn(0, 0.07, 100)) == 7
    assert len(drawn(0, 0.55, 100)) == 55


def test_layers_state_moves_once_with_all_rows():
    normalization = keras.layers.BatchNormalization(momentum=0.5)
    model = compiled(net=keras.Sequential([keras.Input([2]), normalization, keras.layers.Dense(1)]))
    with pytest.warns(UserWarning, match="normalizes over the batch"):
        model.fit(X, (Y, DY), batch_size=8, verbose=0)
    np.testing.assert_allclose(normalization.moving_mean, X.mean(0) / 2, atol=1e-6)
