"""Numbers, lists and things that are no arrays, where fit takes arrays and whole numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.model import feed

X = np.random.default_rng(0).uniform(-1, 1, [12, 2]).astype("float32")
Y, DY = np.sin(X).sum(1, keepdims=True), np.cos(X)


def make():
    model = st.SobolevModel(st.nets.mlp(2, hidden=[4], activation="tanh"))
    model.compile("sgd")
    return model


def staged():
    inputs = keras.Input([2])
    net = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dense(4, name="h")(inputs)))
    return st.DecoupledModel(st.split(net, at=["h"]), method="noprop")


def compiled():
    model = staged()
    model.compile(loss="mse")
    return model


@pytest.mark.parametrize("model", [make, compiled])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 1.5),
        ("epochs", "3"),
        ("epochs", -1),
        ("steps_per_epoch", 2.5),
        ("initial_epoch", "a"),
        ("validation_steps", 0.5),
        ("validation_split", 1.0),
        ("validation_split", "0.1"),
    ],
)
def test_numbers_of_another_kind_are_refused(model, name, value):
    with pytest.raises(ValueError, match=f"Model.fit: {name} is a") as caught:
        model().fit(X, Y, verbose=0, **{name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_model_that_is_not_compiled_says_so(method):
    sobolev = st.SobolevModel(st.nets.mlp(2, hidden=[4]))
    for model, name in ((sobolev, "SobolevModel"), (staged(), "DecoupledModel")):
        with pytest.raises(ValueError, match=f"{name}.{method}: .*call compile"):
            getattr(model, method)(X, Y, verbose=0)


def test_a_share_of_a_data_set_is_refused():
    data = tf.data.Dataset.from_tensor_slices((X, (Y, DY))).batch(4)
    with pytest.raises(ValueError, match="validation_split splits arrays"):
        make().fit(data, validation_split=0.2, verbose=0)


@pytest.mark.parametrize(
    ("y", "weight", "words"),
    [
        ({1, 2}, None, "label value is an array"),
        ("labels.csv", None, "label value is an array"),
        (Y.astype(str), None, "label value holds <U.*pass y.astype"),
        ((Y, tf.ragged.constant([[1.0, 2.0]] * 12)), None, "label d1 is an array"),
        ((Y, DY), 2.0, "sample_weight is an array"),
        ((Y, DY), np.array(["1"] * 12), "sample_weight holds <U1"),
    ],
)
def test_what_is_no_array_of_numbers_is_named(y, weight, words):
    with pytest.raises(ValueError, match=f"SobolevModel.fit: {words}") as caught:
        make().fit(X, y, sample_weight=weight, verbose=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("x", ["x.csv", [["a", "b"]], [[1.0], [1.0, 2.0]], 3.0])
def test_x_of_anything_else_is_refused_in_one_line(x):
    with pytest.raises(ValueError, match=r"SobolevModel.fit: x is an array \[B,...\]"):
        make().fit(x, (Y, DY), verbose=0)


@pytest.mark.parametrize("x", [tf.sparse.from_dense(X), tf.ragged.constant(X.tolist())])
def test_x_that_is_not_dense_is_named(x):
    with pytest.raises(ValueError, match=r"x is a (Sparse|Ragged)Tensor, expected a dense array"):
        make().predict_jet(x)


def test_rows_in_lists_are_taken_as_arrays():
    model = make()
    with_arrays = model.evaluate(X, (Y, DY), verbose=0)
    assert model.evaluate(X.tolist(), (Y, DY), verbose=0) == pytest.approx(with_arrays, rel=1e-6)
    np.testing.assert_allclose(model.predict(X.tolist(), verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize(
    ("weight", "words"),
    [(lambda step: -1.0, "gives -1 at step 0"), (lambda step: float("nan"), "gives nan at step 0")],
)
def test_weights_that_follow_the_step_are_looked_at(weight, words):
    model = make()
    before = model.get_weights()
    model.compile("sgd", loss_weights=[1.0, weight])
    with pytest.raises(ValueError, match=f"SobolevModel.fit: loss_weights of d1 {words}"):
        model.fit(X, (Y, DY), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_weight_that_becomes_negative_later_ends_the_fit():
    model = make()
    model.compile("sgd", loss_weights=[1.0, lambda step: 3.0 - tf.cast(step, tf.float32)])
    with pytest.raises(ValueError, match=r"loss_weights of d1 gives -[1-9] at step"):
        model.fit(X, (Y, DY), batch_size=2, epochs=20, verbose=0)


def test_weights_of_zero_for_all_that_has_labels():
    model = make()
    model.compile("sgd", loss_weights=[0.0, 0.0])
    with pytest.raises(ValueError, match=r"loss_weights are 0 for all terms .*value, d1"):
        model.fit(X, (Y, DY), verbose=0)
    assert model.evaluate(X, (Y, DY), verbose=0, return_dict=True)["value_loss"] > 0


def test_a_data_set_that_knows_no_shapes():
    model = make()
    data = tf.data.Dataset.from_generator(
        lambda: [(X[:5], (Y[:5], DY[:5])), (X[5:], (Y[5:], DY[5:]))],
        output_types=(tf.float32, (tf.float32, tf.float32)),
    )
    expected = model.evaluate(X, (Y, DY), verbose=0)
    assert model.evaluate(data, steps=2, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_class_numbers_with_fractions_are_refused():
    inputs = keras.Input([2])
    net = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(4, name="h")(inputs)))
    model = st.DecoupledModel(st.split(net, at=["h"]), method="noprop")
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=r"DecoupledModel.fit: y is 0.5 in row 0"):
        model.fit(X, np.arange(12) % 2 + 0.5, verbose=0)
    model.fit(X, (np.arange(12) % 3).astype("float32"), verbose=0)


@pytest.mark.parametrize("method", ["fit", "predict", "predict_jet"])
def test_text_in_x(method):
    arguments = [(Y, DY)] if method == "fit" else []
    with pytest.raises(ValueError, match=r"x (holds|is an array)") as caught:
        getattr(make(), method)(X.astype(str), *arguments)
    assert "\n" not in str(caught.value)


def test_masked_points_are_refused_where_they_are_predicted():
    masked = np.ma.masked_greater(X, 0.0)
    for method in ("predict", "predict_jet"):
        with pytest.raises(ValueError, match="x is masked, first in row"):
            getattr(make(), method)(masked)


@pytest.mark.parametrize("beside", [{"y": Y}, {"sample_weight": np.ones(12)}])
def test_a_data_set_gives_its_labels_itself(beside):
    data = tf.data.Dataset.from_tensor_slices((X, (Y, DY))).batch(4)
    with pytest.raises(ValueError, match="a data set gives labels and weights itself"):
        make().fit(data, **beside, verbose=0)


def test_shuffle_is_a_switch():
    with pytest.raises(ValueError, match="shuffle is True or False, got 'yes'"):
        make().fit(X, (Y, DY), shuffle="yes", verbose=0)


@pytest.mark.parametrize("loss", [lambda t, p: None, lambda t, p: (t, p)])
def test_a_loss_that_gives_no_tensor(loss):
    model = make()
    model.compile("sgd", loss=loss)
    with pytest.raises(ValueError, match=r"gives a (NoneType|tuple), expected a tensor"):
        model.fit(X, (Y, DY), verbose=0)


@pytest.mark.parametrize("model", [make, compiled])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"callbacks": "early"}, "callbacks are Keras's Callback objects, got 'early'"),
        ({"callbacks": [print]}, "callbacks are Keras's Callback objects, got <built-in"),
        (
            {"callbacks": keras.callbacks.EarlyStopping},
            "callbacks are .* the class EarlyStopping: call it",
        ),
        ({"verbose": 3}, "verbose is 'auto', 0, 1 or 2, got 3"),
        ({"verbose": "yes"}, "verbose is 'auto', 0, 1 or 2, got 'yes'"),
        ({"validation_freq": "2"}, "validation_freq is a whole number of at least 1, got '2'"),
        ({"validation_freq": 0}, "validation_freq is a whole number of at least 1, got 0"),
        ({"validation_freq": [1, 2.5]}, "validation_freq is a whole number of at least 1, got 2.5"),
        ({"class_weight": "balanced"}, "class_weight is a dict of weights by class number"),
        ({"class_weight": {0: -1.0}}, r"class_weight\[0\] is a finite number of at least 0"),
    ],
)
def test_what_fit_takes_beside_data_is_looked_at(model, options, words):
    with pytest.raises(ValueError, match=f"Model.fit: {words}") as caught:
        model().fit(X, Y, **{"verbose": 0, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", [make, compiled])
@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_what_evaluate_and_predict_take_is_looked_at(model, method):
    model, labels = model(), {"y": Y} if method == "evaluate" else {}
    for name, value in (("callbacks", "bar"), ("verbose", 5), ("steps", 1.5), ("batch_size", 0)):
        with pytest.raises(ValueError, match=rf"Model.{method}: {name} ") as caught:
            getattr(model, method)(X, **labels, **{name: value})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make_model", [make, staged])
def test_an_unknown_option_of_compile_is_refused(make_model):
    with pytest.raises(ValueError, match="compile: there is no argument 'optimiser'; did you mean"):
        make_model().compile(loss="mse", optimiser="adam")
    make_model().compile(loss="mse", run_eagerly=True)
    with pytest.raises(ValueError, match="compile: auto_scale_loss is True or False, got 'no'"):
        make_model().compile(loss="mse", auto_scale_loss="no")


def test_epochs_of_validation_are_a_number_or_a_list():
    model = make()
    for frequency, times in ((np.int64(2), 2), ((1, 4), 2), ([3], 1)):
        options = {"validation_data": (X, (Y, DY)), "validation_freq": frequency}
        history = model.fit(X, (Y, DY), epochs=4, verbose=np.int64(0), **options).history
        assert len(history["val_loss"]) == times


@pytest.mark.parametrize("y", ["labels.csv", ["a"] * 12, {1, 2}])
def test_labels_of_stages_that_are_text_are_refused(y):
    for method in ("fit", "evaluate"):
        with pytest.raises(ValueError, match=rf"DecoupledModel.{method}: y is an array \[B"):
            getattr(compiled(), method)(X, y, verbose=0)


@pytest.mark.parametrize("model", [make, compiled])
@pytest.mark.parametrize("x", [tf.sparse.from_dense(X), tf.ragged.constant(X.tolist())])
def test_x_that_is_not_dense_is_named_beside_labels(model, x):
    for method in ("fit", "evaluate"):
        with pytest.raises(ValueError, match=r"x is a (Sparse|Ragged)Tensor, expected a dense"):
            getattr(model(), method)(x, Y, verbose=0)


@pytest.mark.parametrize("model", [make, compiled])
def test_arguments_that_nobody_has_and_data_that_is_text_are_refused(model):
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    wrong = (
        (lambda m: m.predict(X, batchsize=4), "predict: there is no argument 'batchsize'; did"),
        (lambda m: m.evaluate(X, Y, batchsize=4), "evaluate: there is no argument 'batchsize'"),
        (lambda m: m.fit(X, Y, validation_data="val"), "fit: validation_data is an array"),
        (lambda m: m.fit(data, Y), "fit: a data set gives labels and weights itself"),
        (lambda m: m.compile("sgd", loss="mse", weighted_metrics=["maee"]), "compile: weighted_m"),
    )
    for call, words in wrong:
        with pytest.raises(ValueError, match=words) as caught:
            call(model())
        assert "\n" not in str(caught.value)


class Numbered(keras.utils.PyDataset):
    """Batches of one row, and the order in which they were asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def __len__(self):
        return len(X)

    def __getitem__(self, number):
        self.asked.append(number)
        return X[[number]], Y[[number]]


@pytest.mark.parametrize("model", [make, compiled])
def test_the_batches_of_a_pydataset_are_shuffled_as_in_keras(model):
    orders = {}
    for shuffle in (None, False):
        data = Numbered()
        model().fit(data, verbose=0, shuffle=shuffle)
        orders[shuffle] = data.asked[-len(X) :]
    assert orders[False] == list(range(len(X)))
    assert sorted(orders[None]) == orders[False] != orders[None]
    data = Numbered()
    model().fit(data, verbose=0)
    assert data.asked[-len(X) :] != orders[False]


def test_validation_data_that_do_not_fit_on_the_device_keep_their_batch_size(monkeypatch):
    x = np.linspace(-1, 1, 48)[:, None].astype("float32")
    sizes, on_device = [], feed.on_device

    class Counts(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            sizes.append(batch)

    def too_large(data, dtype):
        return None if len(data[0]) == 16 else on_device(data, dtype)

    monkeypatch.setattr(feed, "on_device", too_large)
    model = st.SobolevModel(st.nets.mlp(1, hidden=[4]), order=0)
    model.compile("sgd")
    held_out = (x[32:], x[32:])
    model.fit(
        x[:32],
        x[:32],
        validation_data=held_out,
        validation_batch_size=8,
        callbacks=[Counts()],
        verbose=0,
    )
    assert sizes == [0, 1]
