"""Integers among the labels: numbers like any other, or class numbers of a sparse loss."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st

X = np.random.default_rng(0).uniform(-1, 1, [40, 2]).astype("float32")
SLOPES = np.zeros([40, 3, 2], "float32")
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def absolute(y_true, y_pred):
    """A loss of one's own, which Keras does not know."""
    return tf.reduce_mean(tf.abs(y_pred - tf.cast(y_true, y_pred.dtype)), -1)


def model_of(outputs, loss, order=0, **settings):
    keras.utils.set_random_seed(0)
    net = st.nets.mlp(2, outputs, hidden=[4], activation="tanh")
    model = st.SobolevModel(net, order=order)
    model.compile("sgd", loss=loss, run_eagerly=True, **settings)
    return model


def numbers(outputs, dtype):
    values = 40 + 30 * X @ np.ones([2, outputs])
    return (values > 40 if dtype == "bool" else np.round(values)).astype(dtype)


def logs_of(y, outputs, loss, adapt_first, streamed):
    model = model_of(outputs, loss, jet_metrics=["rmse", "r2"], metrics=["mae"], missing="nan")
    model.adapt(X, y)
    if adapt_first:
        settings = {"jet_metrics": ["rmse", "r2"], "metrics": ["mae"], "missing": "nan"}
        model.compile("sgd", loss=loss, run_eagerly=True, **settings)
    data = (tf.data.Dataset.from_tensor_slices((X, y)).batch(40),) if streamed else (X, y)
    history = model.fit(*data, batch_size=None if streamed else 40, verbose=0).history
    return history | model.evaluate(*data, verbose=0, return_dict=True)


@pytest.mark.parametrize(
    ("outputs", "dtype", "loss", "adapt_first", "streamed"),
    [
        (1, "int64", "mse", False, False),
        (1, "uint8", absolute, True, True),
        (1, "bool", keras.losses.Huber(), False, False),
        (2, "int32", "mae", True, False),
        (2, "int64", absolute, False, False),
    ],
)
def test_integers_in_the_shape_of_the_values_train_as_floats_do(
    outputs, dtype, loss, adapt_first, streamed
):
    y = numbers(outputs, dtype)
    whole = logs_of(y, outputs, loss, adapt_first, streamed)
    floats = logs_of(y.astype("float32"), outputs, loss, adapt_first, streamed)
    assert whole == floats
    assert np.ravel(whole["loss"])[-1] < 5  # between z-scores: numbers of 40 would give 40


@pytest.mark.parametrize("outputs", [1, 2])
def test_least_squares_fits_integers(outputs):
    x = X.astype("float64")
    y = np.round(1000 * (3 + x @ np.ones([2, outputs]))).astype("int64")
    net = keras.Sequential(
        [keras.Input([2], dtype="float64"), keras.layers.Dense(outputs, dtype="float64")]
    )
    model = st.SobolevModel(net, order=0)
    model.adapt(x, y)
    model.compile(loss="mse")
    st.fit_least_squares(model, x, y, iterations=5, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), y, atol=1)  # y is rounded


@pytest.mark.parametrize(
    "loss", [keras.losses.BinaryCrossentropy(from_logits=True), "mean_squared_logarithmic_error"]
)
@pytest.mark.parametrize("outputs", [1, 3])
def test_integers_of_a_loss_that_needs_the_values_are_not_scaled(loss, outputs):
    y = numbers(outputs, "bool").astype("int64")
    plain, floats = (model_of(outputs, loss).evaluate(X, a, verbose=0) for a in (y, y * 1.0))
    assert plain == floats
    with pytest.raises(ValueError, match=r"adapt: the loss of value, .*sees z-scores"):
        model_of(outputs, loss).adapt(X, y)


@pytest.mark.parametrize("short", [True, False])
def test_class_numbers_stay_as_they_are_whatever_adapt_saw(short):
    classes = np.arange(40) % 3
    y = classes if short else classes[:, None]
    model = model_of(3, [SPARSE, "mse"], order=1, metrics=["accuracy"])
    model.adapt(X, (y, SLOPES))
    logs = model.evaluate(X, (y, SLOPES), verbose=0, return_dict=True)
    jet = model.predict_jet(X)
    by_hand = np.mean(tf.nn.sparse_softmax_cross_entropy_with_logits(classes, jet.value))
    assert logs["value_loss"] == pytest.approx(by_hand, rel=1e-5)
    assert logs["accuracy"] == pytest.approx(np.mean(jet.value.argmax(1) == classes))


@pytest.mark.parametrize("streamed", [True, False])
def test_generalized_cross_entropy_gets_class_numbers(streamed):
    classes = np.arange(40) % 3
    loss = keras.losses.CategoricalGeneralizedCrossEntropy(q=0.5)
    model = st.SobolevModel(keras.Sequential([st.nets.mlp(2, 3), keras.layers.Softmax()]), order=0)
    model.compile(loss=loss)
    data = (tf.data.Dataset.from_tensor_slices((X, classes)).batch(40),)
    logs = model.evaluate(*(data if streamed else (X, classes)), verbose=0, return_dict=True)
    of_class = model.predict(X, verbose=0)[np.arange(40), classes]
    assert logs["loss"] == pytest.approx(np.mean((1 - of_class**0.5) / 0.5), rel=1e-5)


@pytest.mark.parametrize("loss", [keras.losses.Circle(), "circle"])
def test_circle_loss_gets_class_numbers(loss):
    classes, model = np.arange(40) % 3, model_of(3, loss)
    expected = float(keras.losses.Circle()(classes, model(X)))
    loss, _ = model.evaluate(X, classes, batch_size=40, verbose=0)
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("missing", [None, "nan"])
def test_jet_metrics_leave_class_numbers_out(missing):
    model = model_of(3, [SPARSE, "mse"], order=1, jet_metrics=["rmse", "r2"], missing=missing)
    logs = model.fit(X, (np.arange(40) % 3, SLOPES), batch_size=40, verbose=0).history
    assert set(logs) == {"loss", "value_loss", "d1_loss", "d1_rmse", "d1_r2"}


def test_one_integer_for_several_outputs_is_refused_by_losses_of_numbers():
    with pytest.raises(ValueError, match=r"label value has shape \[.*\], expected \[B, 3\]"):
        model_of(3, "mse").fit(X, np.arange(40) % 3, verbose=0)


def test_class_numbers_in_floats_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r'class numbers are integers, as y.astype\("int32"\)'):
        model_of(3, SPARSE).fit(X, np.arange(40.0) % 3, verbose=0)


def partial_of_keras(**settings):
    return functools.partial(keras.losses.sparse_categorical_crossentropy, **settings)


IGNORED = np.where(np.arange(40) % 4 == 0, np.arange(40) % 3, -1)  # 10 of 40 count
WEIGHTS = np.linspace(0, 2, 40).astype("float32")


@pytest.mark.parametrize("kind", [keras.losses.SparseCategoricalCrossentropy, partial_of_keras])
@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_the_mean_is_over_the_labels_that_the_loss_does_not_ignore(kind, weight):
    loss = kind(from_logits=True, ignore_class=-1)
    model = model_of(3, [loss, "mse"], order=1)
    logs = model.evaluate(
        X, (IGNORED, SLOPES), batch_size=40, sample_weight=weight, verbose=0, return_dict=True
    )
    values = tf.nn.sparse_softmax_cross_entropy_with_logits(np.maximum(IGNORED, 0), model(X))
    counting = np.where(IGNORED >= 0, values, 0) * (1 if weight is None else weight)
    assert logs["value_loss"] == pytest.approx(np.sum(counting) / 10, rel=1e-5)
    model.net.compile("sgd", loss, run_eagerly=True)
    stock = model.net.evaluate(X, IGNORED, batch_size=40, sample_weight=weight, verbose=0)
    assert logs["value_loss"] == pytest.approx(stock, rel=1e-5)


def test_ignored_labels_of_sequences_count_neither_and_none_may_be_left():
    net = keras.Sequential([keras.Input([5, 2]), keras.layers.Dense(3, kernel_initializer="zeros")])
    model = st.SobolevModel(net, order=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    model.compile(loss=loss, run_eagerly=True)
    x, y = X.reshape(8, 5, 2), IGNORED.reshape(8, 5)
    for labels, expected in ((y, np.log(3)), (np.full_like(y, -1), 0)):
        loss, _ = model.evaluate(x, labels, batch_size=8, verbose=0)
        assert loss == pytest.approx(expected, rel=1e-5)
