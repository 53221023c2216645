"""The gate: what arrays, batches and data sets may hold, and the row that an error names."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import SobolevModel, nets
from sobolev_tf.model.gate import Gate
from tests.support.cases import slow

X = np.random.default_rng(0).uniform(-1, 1, [16, 2]).astype("float32")
Y = np.sum(X**2, 1, keepdims=True)
DY = 2 * X[:, None]


def compiled(order=1, dtype=None, **options):
    model = SobolevModel(nets.mlp(2, hidden=[4], activation="tanh", dtype=dtype), order)
    model.compile(keras.optimizers.SGD(0.01), **options)
    return model


def with_entry(array, value, row=3):
    array = np.array(array, "float32")
    array[row] = value
    return array


def line(f, *args, **kwargs):
    with pytest.raises(ValueError) as error:
        f(*args, **kwargs)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_nan_is_found_by_order_and_row():
    y, d1 = np.zeros([4, 1]), np.zeros([4, 2])
    d1[2, 1] = np.nan
    gate = Gate("fit", 1)
    gate.arrays(y, (y, None), None)
    with pytest.raises(ValueError, match="label d1 has NaN, first in row 2"):
        gate.arrays(y, (y, d1), None)
    data = tf.data.Dataset.from_tensor_slices((y, (y, d1))).batch(2)
    stream = gate.stream(data)
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(stream.data)
    with pytest.raises(ValueError, match=r"label d1 has NaN, first in row 2 \(batch 1\)"):
        stream.reraise()


@pytest.mark.parametrize(
    ("x", "y", "weight", "message"),
    [
        (with_entry(X, np.nan), (Y, DY), None, "x has NaN, first in row 3"),
        (with_entry(X, -np.inf), (Y, DY), None, "x has infinity, first in row 3"),
        (X, (with_entry(Y, np.inf), DY), None, "label value has infinity, first in row 3"),
        (X, (Y, with_entry(DY, np.nan)), None, "label d1 has NaN, first in row 3"),
        (X, (Y, DY), with_entry(np.ones(16), np.nan), "sample_weight has NaN, first in row 3"),
        (X, (Y, DY), with_entry(np.ones(16), -1), "sample_weight is -1 in row 3"),
        (X, (Y, DY), {"d1": with_entry(np.ones(16), -1)}, "sample_weight of d1 is -1 in row 3"),
        (
            X,
            {"jvp": Y, "directions": with_entry(X, np.nan)},
            None,
            "directions of jvp has NaN, first in row 3",
        ),
        (X[:10], (Y, DY), None, "x has 10 rows and label value has 16"),
        (X, (Y, DY[:4]), None, "x has 16 rows and label d1 has 4"),
        (X, (Y, DY), np.ones(4), "x has 16 rows and sample_weight has 4"),
        (X, (Y, DY), np.ones([16, 2]), "sample_weight has shape [16, 2], expected [B]"),
        (X, (Y, DY), {"d1": np.ones([16, 2])}, "sample_weight has shape [16, 2], expected [B]"),
        (X, (Y, DY, DY), None, "y has 3 entries, but order=1 takes at most 2"),
        (X, {"jvp": Y, "directions": X[:5]}, None, "directions of jvp has 5"),
        (X[:0], (Y[:0], DY[:0]), None, "there is no data, x has 0 rows"),
        (X, (Y + 1j, DY), None, "label value holds complex64, expected real numbers"),
        (X, (Y.astype(object), DY), None, "label value holds object, expected numbers"),
        (np.ma.masked_less(X, 0), (Y, DY), None, "x is masked, first in row"),
        (X, (Y, np.ma.masked_less(DY, 0)), None, 'masked, .* or compile(missing="nan")'),
    ],
)
def test_arrays_that_are_not_right_are_refused_before_a_weight_changes(x, y, weight, message):
    model = compiled()
    before = model.get_weights()
    head, _, tail = message.partition(".* ")
    for options in ({}, {"steps_per_epoch": 2}):
        text = line(model.fit, x, y, sample_weight=weight, verbose=0, batch_size=8, **options)
        assert text.startswith("SobolevModel.fit: ")
        assert head in text
        assert tail in text
    assert "SobolevModel.evaluate: " in line(model.evaluate, x, y, sample_weight=weight, verbose=0)
    text = line(model.fit, X, (Y, DY), validation_data=(x, y, weight), verbose=0)
    assert head in text
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("eagerly", [True, False])
def test_what_the_step_refuses_names_the_method(eagerly):
    model = compiled(run_eagerly=eagerly)
    for method in ("fit", "evaluate"):
        text = line(getattr(model, method), X, (Y, DY[:, :, 1:]), verbose=0)
        assert text.startswith(f"SobolevModel.{method}: label d1 has shape ")


def test_infinite_labels_are_refused_where_nan_is_missing():
    model = compiled(missing="nan")
    y = with_entry(Y, np.nan)
    assert np.isfinite(model.fit(X, (y, DY), verbose=0).history["loss"][0])
    assert "row 5" in line(model.fit, X, (with_entry(y, np.inf, row=5), DY), verbose=0)


def batches_of(*data):
    return tf.data.Dataset.from_tensor_slices(data).batch(8)


@pytest.mark.parametrize("y", [Y, {"value": Y}, (Y, None)], ids=["array", "dict", "tuple"])
@pytest.mark.parametrize(
    "weight", [{"d1": np.ones(16)}, (None, np.ones(16))], ids=["dict", "tuple"]
)
def test_weights_of_a_term_without_labels_are_refused_by_every_method(y, weight):
    model = compiled()
    stream = batches_of(X, Y, {"d1": np.ones(16)})
    calls = [
        (model.fit, (X, y), {"sample_weight": weight}),
        (model.evaluate, (X, y), {"sample_weight": weight}),
        (model.train_on_batch, (X, y, weight), {}),
        (model.test_on_batch, (X, y, weight), {}),
        (model.problem, (X, y, weight), {}),
        (model.adapt, (X, y), {"sample_weight": weight}),
        (model.fit, (X, Y), {"validation_data": (X, y, weight)}),
        (model.fit, (stream,), {}),
        (model.evaluate, (stream,), {}),
        (model.adapt, (stream,), {}),
        (model.fit, (X, Y), {"validation_data": stream}),
        (model.fit, (iter(stream.as_numpy_iterator()),), {}),
    ]
    for method, given, options in calls:
        text = line(method, *given, **options)
        assert "sample_weight has 'd1', and y has no label of that name." in text


def test_one_array_of_weights_is_for_whatever_has_labels():
    """In validation too, which `fit` keeps as a data set of its own."""
    model, weight = compiled(), np.ones(16, "f")
    held_out = {"validation_data": (X, Y, weight), "batch_size": 8, "verbose": 0}
    for steps in (None, 2):
        history = model.fit(X, Y, sample_weight=weight, validation_steps=steps, **held_out).history
        assert history["val_loss"] == history["val_value_loss"]
    live = SobolevModel(
        nets.mlp(2, hidden=[4], activation="tanh"), target=lambda x: x[:, :1] * x[:, 1:]
    )
    live.compile("sgd")
    assert live.evaluate(X, sample_weight={"d1": 0 * weight}, return_dict=True)["d1_loss"] == 0
    with pytest.raises(ValueError, match="sample_weight has 'd1', and y has no label"):
        live.evaluate(X, Y, sample_weight={"d1": weight})  # with labels, the target is not run


def test_nothing_to_learn_from_is_refused():
    model = compiled(missing="nan")
    none = (Y * np.nan, DY * np.nan)
    assert "every label is missing" in line(model.fit, X, none, verbose=0)
    assert "every label is missing, there is nothing to compare" in line(model.evaluate, X, none)
    assert "every label is missing" in line(model.fit, X, (Y, DY), validation_data=(X, none))
    weights = {"value": np.zeros(16), "d1": np.ones(16)}
    assert model.fit(X, (Y, DY), sample_weight=weights, verbose=0).history["d1_loss"][0] > 0
    # As in Keras, weights of 0 leave examples out, all of them if need be.
    zero = model.fit(X, (Y, DY), sample_weight=np.zeros(16), verbose=0)
    assert zero.history["loss"] == [0]
    for size in (0, -4):
        assert "batch_size is a whole number of at least 1" in line(
            model.fit, X, (Y, DY), batch_size=size, verbose=0
        )


def test_masked_entries_of_labels_are_missing():
    model = compiled(missing="nan")
    mask = np.zeros(DY.shape, bool)
    mask[::2] = True
    masked = np.ma.array(np.where(mask, 1e20, DY), mask=mask)
    missing = np.where(mask, np.nan, DY).astype("float32")
    ours, theirs = (
        model.evaluate(X, (Y, dy), verbose=0, return_dict=True) for dy in (masked, missing)
    )
    assert ours["d1_loss"] == pytest.approx(theirs["d1_loss"], rel=1e-6)


def test_derivatives_as_the_third_of_a_data_set_are_refused():
    x = X[:, :1]
    net = nets.mlp(1, hidden=[4], activation="tanh")
    model = SobolevModel(net)
    model.compile("sgd")
    data = tf.data.Dataset.from_tensor_slices((x, x**2, 2 * x + 3)).batch(8)
    assert "derivatives belong to the labels" in line(model.fit, data, verbose=0)
    assert "derivatives belong to the labels" in line(model.evaluate, data, verbose=0)
    values_only = SobolevModel(net, order=0)
    values_only.compile("sgd")
    assert values_only.fit(data, verbose=0).history["loss"][0] > 0
    weights = tf.data.Dataset.from_tensor_slices((x, x**2, np.ones(16, "f"))).batch(8)
    assert model.fit(weights, verbose=0).history["loss"][0] > 0


@pytest.mark.parametrize("wrong", ["NaN in x", "a negative weight", "infinity in d1"])
@pytest.mark.parametrize("kind", ["data set", "generator", "PyDataset"])
def test_batches_of_streams_are_named(kind, wrong):
    x = with_entry(X, np.nan, 11) if wrong == "NaN in x" else X
    weight = with_entry(np.ones(16), -1, 11) if wrong == "a negative weight" else np.ones(16, "f")
    dy = with_entry(DY, np.inf, 11) if wrong == "infinity in d1" else DY
    parts = x, (Y, dy), weight

    def batch(i):
        return keras.tree.map_structure(lambda a: a[4 * i : 4 * i + 4], parts)

    class Batches(keras.utils.PyDataset):
        def __init__(self):
            super().__init__()

        def __len__(self):
            return 4

        def __getitem__(self, i):
            return batch(i)

    if kind == "data set":
        data = tf.data.Dataset.from_tensor_slices(parts).batch(4)
    else:
        data = Batches() if kind == "PyDataset" else (batch(i) for i in range(4))
    text = line(compiled().fit, data, verbose=0)
    assert "row 11 (batch 2)" in text or "row 11" in text
    assert "batch 2" in text


def test_what_a_generator_raises_is_raised_as_it_was():
    def batches():
        yield X, (Y, DY)
        raise KeyError("no such file")

    with pytest.raises(KeyError, match="no such file"):
        compiled().fit(batches(), verbose=0)


def test_a_net_whose_own_derivative_is_not_finite_is_named():
    x = np.random.default_rng(0).normal(size=[8, 2, 3]).astype("float32")
    x[5, 1] = x[5, 0]  # two points at one place
    a = keras.Input([2, 3])
    square = keras.ops.sum((a[:, 0] - a[:, 1]) ** 2, -1, keepdims=True)
    net = keras.Model(a, keras.layers.Dense(1)(keras.ops.sqrt(square)))
    model = SobolevModel(net)
    model.compile("sgd")
    labels = np.zeros([8, 1], "f"), np.zeros([8, 1, 2, 3], "f")
    with pytest.raises(FloatingPointError, match=r"the net's derivative d1 is not, first in row 5"):
        model.fit(x, labels, verbose=0)


def test_a_seed_fixes_the_order_of_repeated_arrays():
    losses = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        history = compiled().fit(X, (Y, DY), batch_size=4, steps_per_epoch=6, verbose=0).history
        losses.append(history["loss"])
    assert losses[0] == losses[1]


class Foreign:
    """An array of another library: NumPy can read it."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __array__(self, dtype=None, copy=None):
        return self.array.astype(dtype or self.dtype)


@pytest.mark.parametrize("convert", [Foreign, *slow(lambda a: a.astype(">f4"), tf.constant)])
def test_arrays_of_any_library_train_alike(convert):
    results = []
    for change in (np.asarray, convert):
        keras.utils.set_random_seed(0)
        model = compiled()
        x, y, dy = map(change, (X, Y, DY))
        model.adapt(x, (y, dy))
        losses = model.fit(x, (y, dy), batch_size=4, verbose=0).history["loss"]
        losses += model.fit(x, (y, dy), 4, steps_per_epoch=3, verbose=0).history["loss"]
        results.append(losses)
    assert results[0] == pytest.approx(results[1], rel=1e-6)


def test_one_masked_array_as_x_and_y_is_refused_as_x():
    masked = np.ma.masked_equal(np.arange(8.0).reshape(4, 2).astype("float32"), 3)
    model = SobolevModel(nets.mlp(2, outputs=2, hidden=[4]), order=0)
    model.compile("sgd", missing="nan")
    with pytest.raises(ValueError, match="fit: x is masked"):
        model.fit(masked, masked, verbose=0)
