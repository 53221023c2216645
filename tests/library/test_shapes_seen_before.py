"""What a shape is checked against does not depend on the data that came before."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.distillation.loss_net import ExampleLoss
from tests.support.cases import slow

RNG = np.random.default_rng(0)
X, Y, DY = (RNG.normal(size=[8, *dims]).astype("float32") for dims in ([2], [3], [3, 2]))
V, CLASSES, WEIGHTS = X[::-1].copy(), np.arange(8) % 3, np.ones(8, "float32")
QUIET = {"verbose": 0}


def sobolev_model():
    keras.utils.set_random_seed(0)
    model = st.SobolevModel(st.nets.mlp(2, 3, hidden=[4]))
    model.compile("sgd")
    return model


def decoupled_model(loss="mse", outputs=3):
    keras.utils.set_random_seed(0)
    inputs = keras.Input([2])
    h = keras.layers.Dense(4, "tanh", name="h")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(outputs)(h))
    model = st.DecoupledModel(st.split(net, at=["h"]), st.synthetic.dense_critic)
    model.compile("sgd", "sgd", loss)
    return model


class Counting(keras.layers.Layer):
    """A layer that counts how often it is traced; public, that would count as a change of it."""

    _traces = 0

    def call(self, x):
        self._traces += 1
        return x


def sliced(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(4)


def in_turn(*batches, spec=None):
    """Batches one after another: a generator, or a data set that knows as much as `spec`."""
    if spec is None:
        return iter(batches)
    data = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)
    return data.apply(tf.data.experimental.assert_cardinality(len(batches)))


RIGHT_AND_WRONG = {
    "fit, labels of one output for three": (
        sobolev_model,
        lambda model, right: model.fit(X, (Y, DY) if right else (Y[:, :1], DY[:, :1]), **QUIET),
    ),
    "fit, a data set": (
        sobolev_model,
        lambda model, right: model.fit(
            sliced(X, (Y, DY) if right else (Y[:, :1], DY[:, :1])), **QUIET
        ),
    ),
    "fit, points of more columns": (
        sobolev_model,
        lambda model, right: model.fit(X if right else np.tile(X, [1, 2]), (Y, DY), **QUIET),
    ),
    "evaluate, points of one column": (
        sobolev_model,
        lambda model, right: model.evaluate(X if right else X[:, :1], Y, **QUIET),
    ),
    "predict, points of one column": (
        sobolev_model,
        lambda model, right: model.predict(X if right else X[:, :1], **QUIET),
    ),
    "train_on_batch": (
        sobolev_model,
        lambda model, right: model.train_on_batch(X, Y if right else Y[:, :1]),
    ),
    "test_on_batch": (
        sobolev_model,
        lambda model, right: model.test_on_batch(X, Y if right else Y[:, :1]),
    ),
    "DecoupledModel.fit": (
        decoupled_model,
        lambda model, right: model.fit(X, Y if right else Y[:, :1], **QUIET),
    ),
    "DecoupledModel.evaluate": (
        decoupled_model,
        lambda model, right: model.evaluate(X, Y if right else Y[:, :1], **QUIET),
    ),
}


@pytest.mark.parametrize("case", RIGHT_AND_WRONG)
def test_a_wrong_shape_is_refused_alike_after_a_right_one(case):
    new, call = RIGHT_AND_WRONG[case]
    with pytest.raises(ValueError, match=r"has shape") as alone:
        call(new(), right=False)
    model = new()
    call(model, right=True)
    with pytest.raises(ValueError) as after:
        call(model, right=False)
    assert str(after.value) == str(alone.value)
    call(model, right=True)


FORMS = {
    "weights [B], then [B,1]": (
        sobolev_model,
        [
            lambda model: model.fit(X, (Y, DY), sample_weight=WEIGHTS, **QUIET),
            lambda model: model.fit(X, (Y, DY), sample_weight=WEIGHTS[:, None], **QUIET),
        ],
    ),
    "one direction, then three, then two": (
        sobolev_model,
        [
            lambda model: model.fit(X, {"jvp": Y, "directions": V}, **QUIET),
            *(
                lambda model, n=n: model.fit(
                    X, {"jvp": np.stack([Y] * n, 1), "directions": np.stack([V] * n, 1)}, **QUIET
                )
                for n in (3, 2)
            ),
        ],
    ),
    "DecoupledModel, labels [B], then [B,1]": (
        lambda: decoupled_model(outputs=1),
        [
            lambda model: model.fit(X, Y[:, 0], **QUIET),
            lambda model: model.fit(X, Y[:, :1], **QUIET),
        ],
    ),
    "DecoupledModel, weights [B], then [B,1]": (
        decoupled_model,
        [
            lambda model: model.fit(X, Y, sample_weight=WEIGHTS, **QUIET),
            lambda model: model.fit(X, Y, sample_weight=WEIGHTS[:, None], **QUIET),
        ],
    ),
    "DecoupledModel, class numbers [B], then [B,1]": (
        lambda: decoupled_model(keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        [
            lambda model: model.fit(X, CLASSES, **QUIET),
            lambda model: model.fit(X, CLASSES[:, None], **QUIET),
        ],
    ),
}


LONG = ("weights [B], then [B,1]", "DecoupledModel, weights [B], then [B,1]")


@pytest.mark.parametrize("case", [*slow(*LONG), *(f for f in FORMS if f not in LONG)])
def test_every_form_of_the_labels_is_taken_after_another(case):
    """And a second fit of the first form, from the same weights, is the first one again."""
    new, calls = FORMS[case]
    losses = [call(new()).history["loss"] for call in calls]
    model = new()
    start = model.get_weights()
    for call, loss in [*zip(calls, losses, strict=True), (calls[0], losses[0])]:
        model.set_weights(start)
        np.testing.assert_allclose(call(model).history["loss"], loss, rtol=1e-6)


UNKNOWN = {
    "sizes": (
        tf.TensorSpec([None, 2]),
        (tf.TensorSpec([None, None]), tf.TensorSpec([None, None, None])),
    ),
    "axes": (tf.TensorSpec(None), (tf.TensorSpec(None), tf.TensorSpec(None))),
}
NARROW = Y[:, :1], DY[:, :1]
TRANSPOSED = Y, DY.transpose(0, 2, 1)


@pytest.mark.parametrize(
    ("labels", "spec", "message"),
    [
        (NARROW, None, r"label \w+ has shape \[8, 1(, 2)?\] in a batch, expected \[B, 3(, 2)?\]"),
        (NARROW, "sizes", r"label \w+ has shape \[8, 1(, 2)?\] in a batch"),
        (NARROW, "axes", r"label \w+ has shape \[8, 1(, 2)?\] in a batch"),
        (TRANSPOSED, "axes", r"label d1 has shape \[8, 2, 3\] in a batch, expected \[B, 3, 2\]"),
    ],
)
def test_a_batch_of_another_shape_in_a_stream_is_refused(labels, spec, message):
    model = sobolev_model()
    data = in_turn((X, (Y, DY)), (X, labels), spec=spec and UNKNOWN[spec])
    with pytest.raises(ValueError, match=rf"SobolevModel.fit: {message}"):
        model.fit(data, **QUIET)
    expected = sobolev_model()
    expected.train_on_batch(X, (Y, DY))
    for weight, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spec", UNKNOWN)
def test_a_stream_of_unknown_shapes_trains_as_arrays_do(spec):
    model, other = sobolev_model(), sobolev_model()
    batches = (X, (Y, DY)), (X[:5], (Y[:5], DY[:5]))
    model.fit(in_turn(*batches, spec=UNKNOWN[spec]), **QUIET)
    for x, y in batches:
        other.train_on_batch(x, y)
    for weight, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


def test_labels_without_the_axis_of_one_output_come_from_streams_of_unknown_axes():
    model = st.SobolevModel(st.nets.mlp(2, 1, hidden=[4]))
    model.compile("sgd")
    short, full = (X, (Y[:, 0], DY[:, 0])), (X, (Y[:, :1], DY[:, :1]))
    weights = model.get_weights() or None
    losses = []
    for batch in (short, full):
        if weights:
            model.set_weights(weights)
        data = in_turn(batch, spec=UNKNOWN["axes"])
        losses.append(model.evaluate(data, return_dict=True, **QUIET)["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_points_of_another_width_in_a_stream_are_refused():
    spec = tf.TensorSpec([None, None]), (tf.TensorSpec([None, 3]), tf.TensorSpec([None, 3, 2]))
    data = in_turn((X, (Y, DY)), (X[:, :1], (Y, DY)), spec=spec)
    with pytest.raises(ValueError, match=r"x has shape \[8, 1\] in a batch, expected \[B, 2\]"):
        sobolev_model().fit(data, **QUIET)


@pytest.mark.parametrize("spec", [None, (tf.TensorSpec([None, 2]), tf.TensorSpec([None, None]))])
def test_a_decoupled_model_refuses_a_batch_of_other_labels(spec):
    data = in_turn((X, Y), (X, Y[:, :1]), spec=spec)
    message = r"DecoupledModel.fit: y has shape \[8, 1\] in a batch, expected \[B, 3\]"
    with pytest.raises(ValueError, match=message):
        decoupled_model().fit(data, **QUIET)


def test_layers_refuse_labels_that_would_be_spread_over_outputs():
    message = r"y has shape \[4, 1\], and the network's outputs \[B?4?, 3\]"
    with pytest.raises(ValueError, match=message):
        ExampleLoss("mse")(tf.zeros([4, 3]), tf.zeros([4, 1]))
    inputs = keras.Input([2])
    layer = st.SyntheticGradient(keras.Model(inputs, keras.layers.Dense(3)(inputs)), "mse")
    with pytest.raises(ValueError, match=message):
        layer.jet(tf.zeros([4, 2]), tf.zeros([4, 1]))


def test_the_number_of_rows_traces_nothing_anew():
    counting = Counting()
    net = keras.Sequential([keras.Input([2]), counting, keras.layers.Dense(3)])
    model = st.SobolevModel(net)
    model.predict(X, batch_size=3, **QUIET)
    model.predict(X[:5], **QUIET)
    before = counting._traces
    for rows in (1, 2, 7):
        model.predict(X[:rows], **QUIET)
    assert counting._traces == before


def test_open_axes_are_traced_once():
    """Images of any size, as in a net without dense layers, do not make a function each."""
    counting = Counting()
    inputs = keras.Input([None, None, 1])
    h = keras.layers.Conv2D(2, 3, name="h")(counting(inputs))
    net = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(h))
    model = st.DecoupledModel(st.split(net, at=["h"]), method="noprop")
    model.compile("sgd", loss="mse")
    for size in (8, 9):
        model.predict(np.ones([2, size, size, 1], "float32"), **QUIET)
    before = counting._traces
    for size in (10, 11, 12):
        model.predict(np.ones([2, size, size, 1], "float32"), **QUIET)
    assert counting._traces == before
