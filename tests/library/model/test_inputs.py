"""Nets of several inputs, and what `wrt` differentiates."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import SobolevModel
from tests.support.cases import slow
from tests.support.small import DY, X, Y, compiled, truth


def two_inputs():
    a, b = keras.Input([2], name="a"), keras.Input([3], name="b")
    h = keras.layers.Dense(8, "tanh")(keras.layers.Concatenate()([a, b]))
    return keras.Model({"a": a, "b": b}, keras.layers.Dense(2)(h))


TWO = {"a": X[:, :2], "b": X}


@pytest.mark.parametrize("wrt", [["b", "a"], *slow("a", "b", ["a", "b"])])
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


@pytest.mark.parametrize("structure", [tuple, list])
def test_a_net_may_take_a_tuple_or_a_list(structure, tmp_path):
    net = two_inputs()
    net = keras.Model(structure(net.inputs), net.outputs[0])
    values = structure([TWO["a"], TWO["b"]])
    model = compiled(net, wrt=["a", "b"])
    jet = model.predict_jet(TWO)
    np.testing.assert_array_equal(model.predict_jet(values).derivatives[0], jet.derivatives[0])
    label = np.concatenate([DY[:, :, :2], DY], -1)
    for x in (values, TWO):
        logs = model.evaluate(x, (Y, label), verbose=0, return_dict=True)
        error = jet.derivatives[0] - label
        assert logs["d1_loss"] == pytest.approx(np.mean(np.sum(error**2, (1, 2))), rel=1e-4)
    assert np.isfinite(model.fit(values, (Y, label), verbose=0).history["loss"][0])
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(values, verbose=0), model.predict(TWO, verbose=0))
    model.export(tmp_path / "saved")
    served = tf.saved_model.load(tmp_path / "saved").signatures["jet"]
    answer = served(**{name: tf.constant(array) for name, array in TWO.items()})
    expected = model.predict_jet(TWO).derivatives[0]
    np.testing.assert_allclose(answer["d1"], expected, rtol=1e-5, atol=1e-6)


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


def test_gradients_of_one_output_by_name_may_leave_its_axis_out():
    a, b = keras.Input([2], name="a"), keras.Input([3], name="b")
    h = keras.layers.Dense(8, "tanh")(keras.layers.Concatenate()([a, b]))
    model = compiled(keras.Model({"a": a, "b": b}, keras.layers.Dense(1)(h)), wrt=["b", "a"])
    by_name = {"a": DY[:, 0, :2], "b": DY[:, 0]}
    joined = np.concatenate([DY[:, :1], DY[:, :1, :2]], -1)
    forms = (by_name, {name: d[:, None] for name, d in by_name.items()}, joined)
    losses = [model.evaluate(TWO, {"d1": form}, verbose=0) for form in forms]
    error = model.predict_jet(TWO).derivatives[0] - joined
    np.testing.assert_allclose(losses, np.mean(np.sum(error**2, (1, 2))), rtol=1e-4)
    with pytest.raises(ValueError, match=r"label d1 of 'b' has shape .*, expected .* \[3\] as"):
        model.evaluate(TWO, {"d1": {"a": DY[:, 0, :2], "b": DY[:, 0, :2]}}, verbose=0)


def test_derivatives_by_name_have_the_axes_of_their_input():
    a, b = keras.Input([2, 3], name="a"), keras.Input([3], name="b")
    flat = keras.layers.Concatenate()([keras.layers.Flatten()(a), b])
    model = compiled(keras.Model({"a": a, "b": b}, keras.layers.Dense(1)(flat)), wrt=["a", "b"])
    pairs = X[:, :2, None] * X[:, None]
    x, d1 = {"a": pairs, "b": X}, np.concatenate([pairs.reshape(64, 6), X], 1)
    for part in (pairs, pairs[:, None], pairs.reshape(64, 1, 6)):
        loss = model.evaluate(x, {"d1": {"a": part, "b": X}}, verbose=0)
        assert loss == pytest.approx(model.evaluate(x, {"d1": d1}, verbose=0), rel=1e-6)
    with pytest.raises(ValueError, match=r"label d1 of 'a' has shape .* \[2, 3\] as in x"):
        model.evaluate(x, {"d1": {"a": pairs.swapaxes(1, 2), "b": X}}, verbose=0)


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_keys_of_a_dict_come_before_names_of_inputs():
    a, b = keras.Input([1], name="b"), keras.Input([2], name="a")
    output = keras.layers.Dense(1)(keras.layers.Concatenate()([a, b]))
    net = keras.Model({"a": a, "b": b}, output)
    inputs = SobolevModel(net, wrt="a").equation.inputs
    assert [inputs.is_chosen(a), inputs.is_chosen(b)] == [True, False]


@pytest.mark.parametrize("wrt", ["positions", ["positions"]])
def test_the_only_input_may_be_named(wrt):
    x = keras.Input([3], name="positions")
    model = SobolevModel(keras.Model(x, keras.layers.Dense(1)(x)), wrt=wrt)
    assert model.predict_jet(X).derivatives[0].shape == (len(X), 1, 3)
