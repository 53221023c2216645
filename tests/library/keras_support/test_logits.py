"""Logits taken for probabilities, and probabilities for logits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.keras_support.logits import activation_layer, last_activation
from sobolev_tf.synthetic import dense_critic

STATES = np.random.default_rng(0).normal(size=[16, 4]).astype("float32")


def policy(last=None, actions=3):
    hidden = keras.layers.Dense(8, "tanh", name="h")
    return keras.Sequential([keras.Input([4]), hidden, keras.layers.Dense(actions, last)])


def functional(last=None):
    inputs = keras.Input([4])
    hidden = keras.layers.Dense(8, "tanh", name="h")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, last)(hidden))


def decoupled(last):
    return st.DecoupledModel(st.split(functional(last), at=["h"]), method="noprop")


@pytest.mark.parametrize("make", [decoupled, lambda last: st.SobolevModel(policy(last), 0)])
def test_the_loss_takes_what_the_net_gives(make, recwarn):
    entropy = keras.losses.SparseCategoricalCrossentropy
    make(None).compile(loss=entropy(from_logits=True))
    make("softmax").compile(loss=entropy())
    make("softmax").compile(loss="sparse_categorical_crossentropy")
    make(None).compile(loss="mse")
    assert not recwarn.list
    expected = "ends in softmax, and the loss, with from_logits=True"
    with pytest.warns(UserWarning, match=expected) as warned:
        make("softmax").compile(loss=entropy(from_logits=True))
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match="ends in a linear layer, and the loss expects prob"):
        make(None).compile(loss="sparse_categorical_crossentropy")


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_a_policy_that_ends_in_softmax_is_warned_of(who):
    nets = [policy("softmax"), policy()]
    student, teacher = nets if who == "student" else nets[::-1]
    with pytest.warns(UserWarning, match=f"the {who} ends in softmax"):
        st.PolicyDistiller(student, teacher)


@pytest.mark.parametrize("one_hot", [True, False])
def test_stored_probabilities_are_warned_of(one_hot):
    model = st.PolicyDistiller(policy(), alpha=0)
    model.compile("sgd")
    probabilities = np.random.default_rng(1).dirichlet([1.0, 1.0, 1.0], 16)
    stored = np.eye(3)[np.arange(16) % 3] if one_hot else probabilities
    with pytest.warns(UserWarning, match="every row of the logits sums to 1"):
        model.fit(STATES, stored.astype("float32"), verbose=0)


def test_logits_are_not(recwarn):
    model = st.PolicyDistiller(policy(), alpha=0)
    model.compile("sgd")
    logits = np.random.default_rng(1).dirichlet([1.0, 1.0, 1.0], 16)
    logits[3] += 1.0  # rows of another sum are no probabilities
    model.fit(STATES, logits.astype("float32"), verbose=0)
    model.fit(STATES, np.log(logits).astype("float32"), verbose=0)
    assert not recwarn.list


def test_stored_probabilities_in_a_data_set_are_warned_of(recwarn):
    model = st.PolicyDistiller(policy(), alpha=0)
    model.compile("sgd")
    stored = np.random.default_rng(1).dirichlet([1.0, 1.0, 1.0], 16).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((STATES, stored)).batch(4)
    model.fit(batches.map(lambda s, p: (s, tf.math.log(p))), verbose=0)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="every row of the logits sums to 1") as caught:
        model.fit(batches, verbose=0)
    assert len([w for w in caught if "sums to 1" in str(w.message)]) == 1


def test_one_action_is_no_policy():
    with pytest.raises(ValueError, match="one action"):
        st.PolicyDistiller(policy(actions=1), alpha=0)


def _softmax_of(logits):
    return keras.Model(inputs := keras.Input([3]), keras.layers.Softmax()(inputs))(logits)


LAST = {
    "Activation": keras.layers.Activation("softmax"),
    "Softmax": keras.layers.Softmax(),
    "function": keras.activations.softmax,
    "nested": _softmax_of,
    "float32 outputs": lambda x: keras.layers.Activation("linear", dtype="float32")(_softmax_of(x)),
    "activation is a layer": keras.layers.Dense(3, keras.layers.Softmax()),
    "wrapped": lambda x: keras.layers.SpectralNormalization(keras.layers.Dense(3, "softmax"))(x),
}


@pytest.mark.parametrize("last", LAST)
def test_critics_get_the_final_activation_however_the_net_has_it(last, tmp_path):
    inputs = keras.Input([4])
    hidden = keras.layers.Dense(8, "tanh", name="h")(inputs)
    net = keras.Model(inputs, LAST[last](keras.layers.Dense(3)(hidden)))
    assert last_activation(net) == "softmax"
    model = st.DecoupledModel(st.split(net, at=["h"]), critic=dense_critic)
    model.compile("sgd", "adam", loss="sparse_categorical_crossentropy")
    h = np.random.default_rng(0).normal(size=[5, 8]).astype("float32")
    outputs = model.critics[0](h).numpy()
    assert np.allclose(outputs.sum(1), 1, atol=1e-5)
    assert outputs.min() > 0
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(again.critics[0](h), outputs)


def test_a_last_activation_keeps_its_settings():
    layers = [keras.Input([4]), keras.layers.Dense(3), keras.layers.ReLU(max_value=0.5)]
    assert activation_layer(keras.Sequential(layers)).max_value == 0.5
    inputs = keras.Input([3])
    bounded = keras.activations.relu(inputs, max_value=0.5)
    copy = activation_layer(keras.Model(inputs, bounded))
    assert copy(np.float32([[-1, 0.2, 2]])).numpy().tolist() == [[0, np.float32(0.2), 0.5]]
    assert activation_layer(policy()) is None
