"""The core beyond one array in, full derivatives out: what else fit takes, and in which units."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf import SobolevModel, losses, nets, targets

RNG = np.random.default_rng(0)
X = RNG.normal(size=[64, 3]).astype("float32")
A = np.array([[1.0, -2.0, 0.5], [0.3, 0.1, 2.0]], "float32")


def truth(x):
    """[B,3] -> [B,2], in units far from one."""
    return 100 * tf.sin(tf.linalg.matvec(A, x)) + 1000


Y, DY = targets.tabulate(truth, X)


def smooth(outputs=2, inputs=3):
    return nets.mlp(inputs, outputs, hidden=[8], activation="tanh")


def compiled(net=None, optimizer="adam", **kwargs):
    names = ["order", "target", "wrt", "projection", "projections", "seed"]
    own = {name: kwargs.pop(name) for name in names if name in kwargs}
    model = SobolevModel(net or smooth(), **own)
    # Eager steps are faster than a trace; test_model.py holds both against each other.
    model.compile(optimizer, **{"run_eagerly": True} | kwargs)
    return model


# --- labels along given directions


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


# --- several inputs


def two_inputs():
    a, b = keras.Input([2], name="a"), keras.Input([3], name="b")
    h = keras.layers.Dense(8, "tanh")(keras.layers.Concatenate()([a, b]))
    return keras.Model({"a": a, "b": b}, keras.layers.Dense(2)(h))


TWO = {"a": X[:, :2], "b": X}


OTHER_CHOICES = [pytest.param(wrt, marks=pytest.mark.slow) for wrt in ("b", ["a", "b"])]


@pytest.mark.parametrize("wrt", ["a", ["b", "a"], *OTHER_CHOICES])
def test_wrt_names_what_is_differentiated(wrt, tmp_path):
    model = compiled(two_inputs(), wrt=wrt)
    jet = model.predict_jet(TWO)
    chosen = [wrt] if isinstance(wrt, str) else wrt
    columns = []
    for name in chosen:
        for i in range(TWO[name].shape[1]):
            moved = {k: v.copy() for k, v in TWO.items()}
            ends = []
            for step in (1e-2, -1e-2):
                moved[name] = TWO[name].copy()
                moved[name][:, i] += step
                ends.append(model.predict(moved, verbose=0))
            columns.append((ends[0] - ends[1]) / 2e-2)
    np.testing.assert_allclose(jet.derivatives[0], np.stack(columns, -1), rtol=0.02, atol=2e-3)
    by_name = {"a": DY[:, :, :2], "b": DY}
    label = by_name[wrt] if isinstance(wrt, str) else by_name
    history = model.fit(TWO, (Y, label), verbose=0, epochs=2).history
    joined = np.concatenate([by_name[name] for name in chosen], -1)
    logs = model.evaluate(TWO, (Y, label), verbose=0, return_dict=True)
    error = model.predict_jet(TWO).derivatives[0] - joined
    assert logs["d1_loss"] == pytest.approx(np.mean(np.sum(error**2, (1, 2))), rel=1e-4)
    assert history["loss"][1] < history["loss"][0]
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    ours, theirs = (m.predict_jet(TWO).derivatives[0] for m in (model, again))
    np.testing.assert_array_equal(ours, theirs)
    model.export(tmp_path / "saved")
    answer = tf.saved_model.load(tmp_path / "saved").signatures["jet"](
        **{k: tf.constant(v) for k, v in TWO.items()}
    )
    np.testing.assert_allclose(answer["d1"], ours, rtol=1e-5, atol=1e-6)


def test_other_inputs_may_hold_integers_and_come_in_a_list():
    words, x = keras.Input([4], dtype="int32", name="words"), keras.Input([3], name="x")
    known = keras.layers.Flatten()(keras.layers.Embedding(5, 2)(words))
    h = keras.layers.Dense(8, "tanh")(keras.layers.Concatenate()([known, x]))
    net = keras.Model([words, x], keras.layers.Dense(2)(h))
    model = compiled(net, wrt="x")
    inputs = [np.ones([64, 4], "int32"), X]
    assert model.fit(inputs, (Y, DY), verbose=0).history["d1_loss"][0] > 0
    assert model.predict_jet(inputs).derivatives[0].shape == (64, 2, 3)
    model.adapt(inputs, (Y, DY))
    assert np.isfinite(model.fit(inputs, (Y, DY), verbose=0).history["loss"][0])
    live = compiled(net, wrt="x", target=lambda both: truth(both[1]))
    assert live.fit(inputs, verbose=0).history["d1_loss"][0] > 0


def test_one_input_in_a_dict_needs_no_name():
    x = keras.Input([3], name="x")
    net = keras.Model({"x": x}, keras.layers.Dense(2)(keras.layers.Dense(8, "tanh")(x)))
    model = compiled(net)
    assert model.fit({"x": X}, (Y, DY), verbose=0).history["d1_loss"][0] > 0
    assert model.predict_jet({"x": X}).derivatives[0].shape == (64, 2, 3)
    live = compiled(net, target=lambda x: truth(x["x"]))
    assert live.fit({"x": X}, verbose=0).history["d1_loss"][0] > 0


def test_a_jet_of_a_dataset_is_that_of_its_rows():
    model = compiled()
    data = tf.data.Dataset.from_tensor_slices((X, (Y, DY))).batch(10)
    ours, rows = model.predict_jet(data), model.predict_jet(X)
    np.testing.assert_allclose(ours.derivatives[0], rows.derivatives[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="empty"):
        model.predict_jet(data.take(0))


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match=r"several inputs \(a, b\): name those"):
        compiled(two_inputs()).fit(TWO, (Y, DY), verbose=0)
    with pytest.raises(ValueError, match="wrt names 'c', but the inputs are a, b"):
        compiled(two_inputs(), wrt="c").fit(TWO, (Y, DY), verbose=0)
    with pytest.raises(ValueError, match="d1 lacks the input 'b'"):
        compiled(two_inputs(), wrt=["a", "b"]).fit(TWO, (Y, {"a": DY[:, :, :2]}), verbose=0)


# --- scaling


@pytest.mark.parametrize("order", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_adapt_changes_the_units_and_not_the_answers(order, tmp_path):
    x = X * np.array([1.0, 10.0, 0.01], "float32") + 5
    labels = targets.tabulate(truth, x, order=order)
    model = compiled(order=order, jet_metrics=["rmse", "r2", "cosine"])
    model.adapt(tf.data.Dataset.from_tensor_slices((x, labels)).batch(7))
    model.fit(x, labels, verbose=0)
    z = (x - x.mean(0)) / x.std(0)
    np.testing.assert_allclose(model.scaling.points(x), z, rtol=1e-3, atol=1e-3)
    logs = model.evaluate(x, labels, verbose=0, return_dict=True)
    jet = model.predict_jet(x)
    deviation, spread = labels[0].std(0), x.std(0)
    error = (jet.value - labels[0]) / deviation
    assert logs["value_loss"] == pytest.approx(np.mean(np.sum(error**2, 1)), rel=1e-3)
    error = (jet.derivatives[0] - labels[1]) * spread / deviation[:, None]
    assert logs["d1_loss"] == pytest.approx(np.mean(np.sum(error**2, (1, 2))), rel=1e-3)
    if order == 2:
        error = (jet.derivatives[1] - labels[2]) / deviation[:, None, None]
        error = error * spread * spread[:, None]
        assert logs["d2_loss"] == pytest.approx(np.mean(np.sum(error**2, (1, 2, 3))), rel=1e-3)
    raw = jet.derivatives[0] - labels[1]
    assert logs["d1_rmse"] == pytest.approx(np.sqrt(np.mean(raw**2)), rel=1e-3)
    np.testing.assert_allclose(model.predict(x, verbose=0), jet.value, rtol=1e-5)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    fresh = SobolevModel(smooth(), order=order)
    model.save_weights(tmp_path / "m.weights.h5")
    fresh.load_weights(tmp_path / "m.weights.h5")
    model.export(tmp_path / "saved")
    served = tf.saved_model.load(tmp_path / "saved").signatures["jet"](x=tf.constant(x))
    for other in (again, fresh):
        theirs = other.predict_jet(x)
        np.testing.assert_array_equal(theirs.value, jet.value)
        np.testing.assert_array_equal(theirs.derivatives[-1], jet.derivatives[-1])
    np.testing.assert_allclose(served["d1"], jet.derivatives[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("projection", [None, "output", "input"])
@pytest.mark.parametrize("live", [False, True])
def test_scaled_training_is_training_on_scaled_data(projection, live):
    kwargs = {"projection": projection, "seed": 0, "optimizer": keras.optimizers.SGD(0.1)}
    mean, deviation = X.mean(0), X.std(0)
    bias, spread = Y.mean(0), Y.std(0)
    by_hand = compiled(**kwargs)
    kwargs["optimizer"] = keras.optimizers.SGD(0.1)
    ours = compiled(target=truth if live else None, **kwargs)
    ours.net.set_weights(by_hand.net.get_weights())
    ours.adapt(X, None if live else (Y, DY))
    options = {"shuffle": False, "batch_size": 16, "verbose": 0}
    labels = (Y - bias) / spread, DY * deviation / spread[:, None]
    by_hand.fit((X - mean) / deviation, labels, **options)
    ours.fit(X, None if live else (Y, DY), **options)
    for a, b in zip(by_hand.net.get_weights(), ours.net.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


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


def test_adapt_leaves_out_what_is_missing_and_refuses_what_has_no_end():
    y, x = Y.copy(), X.copy()
    x[:, 1] = 7  # no spread
    y[::2] = np.nan
    model = compiled(missing="nan")
    model.adapt(x, (y, DY))
    np.testing.assert_allclose(model.scaling.value_mean, y[1::2].mean(0), rtol=1e-5)
    assert model.scaling.deviation.numpy()[1] == 1
    forces = compiled()
    forces.adapt(X, {"d1": DY})
    length = np.sqrt(np.sum(np.mean(DY**2, 0) * X.std(0) ** 2, 1))
    np.testing.assert_allclose(forces.scaling.value_deviation, length, rtol=1e-4)
    endless = tf.data.Dataset.from_tensor_slices((X, (Y, DY))).repeat().batch(8)
    with pytest.raises(ValueError, match="steps="):
        model.adapt(endless)
    model.adapt(endless, steps=8)
    with pytest.raises(ValueError, match="no data"):
        model.adapt(X[:0], (Y[:0], DY[:0]))


# --- losses, weights, metrics


def test_weights_may_follow_a_schedule():
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([3], [2.0, 0.5])
    model = compiled(loss_weights=[1.0, rate])
    for _ in range(2):
        logs = model.evaluate(X, (Y, DY), verbose=0, return_dict=True)
        weight = 2.0 if model.optimizer.iterations == 0 else 0.5
        assert logs["loss"] == pytest.approx(logs["value_loss"] + weight * logs["d1_loss"])
        model.fit(X, (Y, DY), batch_size=16, verbose=0)


def test_component_weights_multiply_errors():
    weights = np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]])
    model = compiled(component_weights={"d1": weights, "value": [2.0, 1.0]})
    logs = model.evaluate(X, (Y, DY), verbose=0, return_dict=True)
    jet = model.predict_jet(X)
    error = (jet.derivatives[0] - DY) * weights
    assert logs["d1_loss"] == pytest.approx(np.mean(np.sum(error**2, (1, 2))), rel=1e-4)
    error = (jet.value - Y) * [2, 1]
    assert logs["value_loss"] == pytest.approx(np.mean(np.sum(error**2, 1)), rel=1e-4)


def test_rms_weights_make_every_component_count_alike(tmp_path):
    model = compiled(component_weights="rms")
    with pytest.raises(ValueError, match="call adapt first"):
        model.fit(X, (Y, DY), verbose=0)
    model.adapt(X, (Y, DY))
    model.fit(X, (Y, DY), verbose=0)
    logs = model.evaluate(X, (Y, DY), verbose=0, return_dict=True)
    error = (model.predict_jet(X).derivatives[0] - DY) / np.sqrt(np.mean(DY**2, 0))
    assert logs["d1_loss"] == pytest.approx(np.mean(np.sum(error**2, (1, 2))), rel=1e-3)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.evaluate(X, (Y, DY), verbose=0, return_dict=True) == pytest.approx(logs, rel=1e-4)


def test_metrics_of_every_term_have_short_names():
    model = compiled(jet_metrics=["rmse", "r2", "cosine"], metrics=["mae"])
    history = model.fit(X, (Y, DY), validation_data=(X, (Y, DY)), verbose=0).history
    own = {"loss", "value_loss", "value_rmse", "value_r2", "mae"}
    own |= {"d1_loss", "d1_rmse", "d1_r2", "d1_cosine"}
    assert set(history) == own | {f"val_{name}" for name in own}
    logs = model.evaluate(X, (Y, DY), verbose=0, return_dict=True)
    d1 = model.predict_jet(X).derivatives[0]
    error, centred = np.sum((d1 - DY) ** 2), np.sum((DY - DY.mean(0)) ** 2)
    assert logs["d1_rmse"] == pytest.approx(np.sqrt(error / DY.size), rel=1e-4)
    assert logs["d1_r2"] == pytest.approx(1 - error / centred, rel=1e-3)
    flat = d1.reshape(64, -1), DY.reshape(64, -1)
    cosine = np.sum(flat[0] * flat[1], 1) / np.prod([np.linalg.norm(f, axis=1) for f in flat], 0)
    assert logs["d1_cosine"] == pytest.approx(np.mean(cosine), rel=1e-3)
    with pytest.raises(ValueError, match="jet_metrics has 'mae'"):
        compiled(jet_metrics="mae")


def test_norms_by_sum_or_mean_and_relative_ones():
    zeros, ones = tf.zeros([2, 3, 2]), tf.ones([2, 3, 2])
    for loss, total in ((losses.SquaredNorm, 6), (losses.L1Norm, 6), (losses.Norm, 6**0.5)):
        assert float(loss()(zeros, ones)) == pytest.approx(total)
        assert float(loss(over="mean")(zeros, ones)) == pytest.approx(1)
        assert loss.from_config(loss(over="mean").get_config()).over == "mean"
    relative = losses.RelativeNorm(floor=0.5)
    assert float(relative(zeros, ones)) == pytest.approx(6**0.5 / 0.5)
    assert float(relative(2 * ones, ones)) == pytest.approx(0.5)
    for wrong in (lambda: losses.Norm(over="max"), lambda: losses.RelativeNorm(floor=0)):
        with pytest.raises(ValueError, match=r"max|floor"):
            wrong()
    x = tf.Variable(ones)
    with tf.GradientTape() as tape:
        loss = relative(ones, x)
    assert not np.any(tape.gradient(loss, x))


# --- sources of derivatives, and how fit is called


@pytest.mark.parametrize("projection", [None, "output", "input"])
def test_a_black_box_teaches_inside_the_step(projection):
    def black_box(x):
        return 100 * np.sin(x @ A.T.astype("float64")) + 1000

    kwargs = {"projection": projection, "seed": 0}
    live, box = (
        compiled(target=t, optimizer=keras.optimizers.SGD(1e-6), **kwargs)
        for t in (truth, targets.FiniteDifferences(black_box))
    )
    box.net.set_weights(live.net.get_weights())
    for adapted in (False, True):
        histories = []
        for model in (live, box):
            if adapted:
                model.adapt(X)
            histories.append(model.fit(X, shuffle=False, verbose=0).history)
        assert histories[0]["d1_loss"] == pytest.approx(histories[1]["d1_loss"], rel=1e-3)
        assert histories[0]["value_loss"] == pytest.approx(histories[1]["value_loss"], rel=1e-3)


def test_a_black_box_teaches_along_one_argument_and_in_other_units():
    def black_box(x):
        return 100 * np.sin(x[:, :1] * x[:, 1:2]) + 1000 + x[:, 2:]

    def same(x):
        return 100 * tf.sin(x[:, :1] * x[:, 1:2]) + 1000 + x[:, 2:]

    kwargs = {"projection": "input", "order": 2, "contraction": "first", "seed": 0}
    logs = []
    net = smooth(1)
    for target in (same, targets.FiniteDifferences(black_box)):
        model = SobolevModel(net, target=target, **kwargs)
        model.compile(keras.optimizers.SGD(0.0))
        labels = targets.tabulate(same, X, order=1)
        model.adapt(X, labels)
        logs.append(model.fit(X, shuffle=False, verbose=0).history)
    for name, values in logs[0].items():
        assert values == pytest.approx(logs[1][name], rel=1e-3)


def test_a_black_box_of_another_shape_is_an_error():
    wide = targets.FiniteDifferences(lambda x: np.sin(x))  # three outputs; the net has two
    with pytest.raises(Exception, match="the black box answers other shapes"):
        compiled(target=wide).fit(X, verbose=0)


def test_arrays_repeat_where_an_epoch_has_a_length_of_its_own():
    model = compiled()
    history = model.fit(X, (Y, DY), steps_per_epoch=40, epochs=2, verbose=0).history
    assert model.optimizer.iterations == 80
    assert history["loss"][1] < history["loss"][0]
    weight = np.zeros(64, "float32")
    logs = model.fit(X, (Y, DY), sample_weight=weight, steps_per_epoch=3, verbose=0).history
    assert logs["loss"] == [0.0]


def test_what_a_net_cannot_learn_is_said_before_it_starts():
    relu, x = compiled(nets.mlp(1, hidden=[4]), order=2), X[:, :1]
    with pytest.warns(UserWarning, match="piecewise linear"):
        relu.fit(x, (x**2, (2 * x)[:, None], np.full([64, 1, 1, 1], 2.0)), verbose=0)
    layers = [keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    norm = keras.Sequential([keras.Input([3]), *layers])
    with pytest.warns(UserWarning, match="normalises over the batch"):
        compiled(norm).fit(X, (Y, DY), verbose=0)
    assert st.SobolevModel is SobolevModel


# --- what once went wrong


def test_scales_travel_with_the_weights():
    model = compiled()
    model.adapt(X, (Y, DY))
    expected = model.predict(X, verbose=0)
    for other in (compiled(), keras.models.clone_model(model)):
        other.predict(X, verbose=0)  # traced before
        other.set_weights(model.get_weights())
        np.testing.assert_allclose(other.predict(X, verbose=0), expected, rtol=1e-5)
        np.testing.assert_allclose(other.predict_jet(X).value, expected, rtol=1e-5)


def test_whole_numbers_are_scaled_as_numbers():
    model = compiled()
    model.adapt(X, (Y, DY))
    whole = np.arange(12, dtype="uint8").reshape(4, 3)
    floating = model.predict(whole.astype("float32"), verbose=0)
    np.testing.assert_allclose(model.predict(whole, verbose=0), floating, rtol=1e-5)


def test_half_precision_nets_answer_in_large_units():
    layers = [keras.layers.Dense(n, dtype="mixed_float16") for n in (8, 2)]
    model = compiled(keras.Sequential([keras.Input([3]), *layers]))
    model.adapt(X, (1e6 * Y, 1e6 * DY))
    assert np.isfinite(model.predict(X, verbose=0)).all()
    assert np.isfinite(model.predict_jet(X).derivatives[0]).all()


def test_weights_of_examples_are_not_labels():
    model = compiled(smooth(1), target=lambda x: 0 * x[:, :1], optimizer=keras.optimizers.SGD(0.05))
    weight = np.full(64, 7.0, "float32")
    history = model.fit(X, sample_weight=weight, steps_per_epoch=50, verbose=0).history
    assert abs(model.predict(X, verbose=0)).mean() < 1
    assert "d1_loss" in history
    for y in ((None, DY), {"d1": DY, "value": None}):
        assert compiled().fit(X, y, steps_per_epoch=2, verbose=0).history["d1_loss"]
    with pytest.raises(ValueError, match=r"sample_weight has shape .*derivatives belong"):
        compiled().fit(tf.data.Dataset.from_tensor_slices((X, Y, DY[:, 0])).batch(8), verbose=0)


def test_metrics_along_directions_are_raw():
    v = np.random.default_rng(1).normal(size=[64, 3]).astype("float32")
    u = v[:, :2]
    model = compiled(jet_metrics=["rmse"])
    model.adapt(X, (Y, DY))
    labels = {"jvp": np.einsum("bki,bi->bk", DY, v), "vjp": np.einsum("bki,bk->bi", DY, u)}
    given = {**labels, "directions": {"jvp": v, "vjp": u}}
    logs = model.evaluate(X, given, verbose=0, return_dict=True)
    d1 = model.predict_jet(X).derivatives[0]
    error = np.einsum("bki,bi->bk", d1, v) - labels["jvp"]
    assert logs["jvp_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-3)
    error = np.einsum("bki,bk->bi", d1, u) - labels["vjp"]
    assert logs["vjp_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-3)


def test_component_weights_have_the_terms_shape():
    with pytest.raises(ValueError, match=r"component_weights of d1 have shape \[3, 2\]"):
        compiled(component_weights={"d1": np.ones([3, 2])}).fit(X, (Y, DY), verbose=0)


def test_whole_numbers_under_a_norm_have_the_values_shape():
    with pytest.raises(ValueError, match=r"label value has shape"):
        compiled().fit(X, (np.ones([64, 1], int), DY), verbose=0)


def test_infinity_is_refused_by_adapt():
    x = X.copy()
    x[5, 0] = np.inf
    with pytest.raises(ValueError, match="x is infinite, first in row 5"):
        compiled().adapt(x, (Y, DY))


@pytest.mark.parametrize("projection", [None, "output"])
def test_a_black_box_may_leave_the_axis_of_one_output_out(projection):
    box = targets.FiniteDifferences(lambda x: np.sin(x).sum(1))
    model = compiled(smooth(1), target=box, projection=projection)
    model.evaluate(X, verbose=0)
    assert np.isfinite(model.fit(X, verbose=0).history["loss"][0])
    with pytest.raises(ValueError, match="XLA cannot call a black box"):
        compiled(smooth(1), target=box, jit_compile=True)


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
