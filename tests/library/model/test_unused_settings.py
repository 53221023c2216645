"""What is passed and nobody would use: refused, since its user means something by it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from tests.support.refusals import refused_in_one_line

X = np.random.default_rng(0).uniform(-1, 1, [9, 2]).astype("float32")
Y, DY = np.sin(X).sum(1, keepdims=True), np.cos(X)


def make(**settings):
    model = st.SobolevModel(st.nets.mlp(2, hidden=[4], activation="tanh"), **settings)
    model.compile("sgd")
    return model


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ({"value": Y, "directions": np.ones([9, 2])}, "directions but no jvp, vjp or hvp"),
        ({"directions": np.ones([9, 2])}, "directions but no jvp, vjp or hvp"),
        (
            {"jvp": Y, "directions": {"jvp": np.ones([9, 2]), "vjp": np.ones([9, 1])}},
            "directions but no vjp",
        ),
        ({"jvp": Y, "directions": np.zeros([9, 2])}, "directions of jvp are all zero"),
    ],
)
def test_directions_without_their_derivatives(y, words):
    with pytest.raises(ValueError, match=words):
        make().fit(X, y, verbose=0)


@pytest.mark.parametrize(
    "settings",
    [{"projections": 4}, {"unbiased": True}, {"orthogonal": True}, {"contraction": "same"}],
)
def test_settings_of_a_projection_that_is_absent(settings):
    with pytest.raises(ValueError, match="need a projection"):
        make(**settings)


def test_no_name_in_wrt():
    with pytest.raises(ValueError, match="wrt names no input"):
        make(wrt=[])


@pytest.mark.parametrize("name", ["d1", "vjp"])
def test_weights_of_a_term_without_labels(name):
    with pytest.raises(ValueError, match=f"sample_weight has '{name}', and y has no label"):
        make().fit(X, Y, sample_weight={name: np.ones(9)}, verbose=0)


def test_weights_of_directions():
    y = {"jvp": Y, "directions": np.ones([9, 2], "f")}
    weights = {"jvp": np.ones(9, "f"), "directions": np.ones(9, "f")}
    data = tf.data.Dataset.from_tensor_slices((X, y, weights)).batch(3)
    model = make()
    calls = [
        lambda: model.fit(X, y, sample_weight={"directions": np.ones(9)}, verbose=0),
        lambda: model.fit(X, y, sample_weight=weights, verbose=0),
        lambda: model.fit(data, verbose=0),
        lambda: model.evaluate(iter(data), verbose=0),
        lambda: model.fit(X, y, validation_data=(X, y, weights), verbose=0),
        lambda: model.train_on_batch(X, y, weights),
        lambda: st.fit_lbfgs(model, X, y, sample_weight=weights),
    ]
    for call in calls:
        refused_in_one_line(call, "sample_weight has 'directions', which are no label: name the")
    for whole in (None, np.ones(9, "f"), {"jvp": np.ones(9, "f")}):
        model.fit(X, y, sample_weight=whole, validation_data=(X, y, whole), verbose=0)


def test_weights_of_a_live_targets_terms_are_used():
    model = make(target=st.targets.Function(lambda x: x[:, :1]))
    model.fit(X, sample_weight={"d1": np.ones(9)}, verbose=0)


def test_an_input_that_is_absent_is_named():
    a, b = keras.Input([2], name="a"), keras.Input([3], name="b")
    net = keras.Model([a, b], keras.layers.Dense(1)(keras.layers.Concatenate()([a, b])))
    with pytest.raises(ValueError, match="x lacks the input 'b': it has a, and the net takes a, b"):
        st.SobolevModel(net, wrt="a").predict_jet({"a": X})


def test_a_teacher_that_freezes_the_students_own_layers():
    inputs = keras.Input([2])
    body = keras.layers.Dense(4, "tanh", name="body")(inputs)
    student = keras.Model(inputs, keras.layers.Dense(1)(body))
    teacher = keras.Model(inputs, keras.layers.Dense(1)(body))
    with pytest.raises(ValueError, match="the net shares 'body/kernel' with its teacher"):
        st.SobolevModel(student, target=st.targets.Teacher(teacher))


def test_a_body_that_was_frozen_before_may_be_shared():
    inputs = keras.Input([2])
    body = keras.layers.Dense(4, "tanh")
    hidden, body.trainable = body(inputs), False
    student = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    teacher = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    model = st.SobolevModel(student, target=st.targets.Teacher(teacher))
    model.compile("sgd")
    model.fit(X, verbose=0)


def test_whole_numbers_beyond_float32_are_warned_of():
    y = 2**25 + np.arange(9)[:, None]
    with pytest.warns(UserWarning, match="label value varies by 8 around"):
        make().fit(X, (y, DY), verbose=0)
