"""Keras models as targets: frozen, no part of the student, saved with it, and replaceable."""

import keras
import numpy as np
import pytest

import sobolev_tf as st
from sobolev_tf import targets

X = np.random.default_rng(0).normal(size=[6, 2]).astype("f")


def linear(weights, **kwargs):
    """The net x -> <weights, x>."""
    layer = keras.layers.Dense(1, use_bias=False, **kwargs)
    net = keras.Sequential([keras.Input([2]), layer])
    layer.kernel.assign(np.array(weights, "f")[:, None])
    return net


def student(target):
    model = st.SobolevModel(linear([1, 1]), target=target)
    model.compile(keras.optimizers.SGD(0.1))
    return model


def by_hand(difference):
    """The losses of value and d1 between linear nets whose weights differ so."""
    return [np.mean((X @ difference) ** 2), np.sum(np.square(difference))]


def losses(model):
    logs = model.evaluate(X, verbose=0, return_dict=True)
    return [logs["value_loss"], logs["d1_loss"]]


def test_a_plain_net_is_not_trained_with_its_student():
    net = linear([3, 0], kernel_regularizer=keras.regularizers.L2(1.0))
    model = student(net)
    assert [v is model.net.weights[0] for v in model.trainable_variables] == [True]
    logs = model.evaluate(X, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(sum(by_hand([-2, 1])), rel=1e-5)  # without 9 of L2
    model.fit(X, epochs=3, verbose=0)
    np.testing.assert_array_equal(net.get_weights()[0].ravel(), [3, 0])
    assert losses(model)[1] < by_hand([-2, 1])[1]


@pytest.mark.parametrize("wrap", [targets.Teacher, lambda net: net], ids=["teacher", "net"])
def test_a_target_is_replaced_after_training_and_after_loading(wrap, tmp_path):
    model = student(linear([3, 0]))
    model.fit(X, verbose=0)
    model.net.layers[0].kernel.assign([[1], [1]])
    model.target = wrap(linear([1, 5]))
    assert losses(model) == pytest.approx(by_hand([0, -4]), rel=1e-5)
    model.fit(X, verbose=0)
    model.net.layers[0].kernel.assign([[1], [1]])
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert losses(again) == pytest.approx(by_hand([0, -4]), rel=1e-5)
    again.target = wrap(linear([2, 1]))
    assert losses(again) == pytest.approx(by_hand([-1, 0]), rel=1e-5)
    again.load_weights(tmp_path / "m.weights.h5")
    assert losses(again) == pytest.approx(by_hand([0, -4]), rel=1e-5)
    assert len(again.trainable_variables) == 1


def test_a_distiller_gets_another_teacher_after_loading(tmp_path):
    def policy(scale):
        net = keras.Sequential([keras.Input([2]), keras.layers.Dense(3, use_bias=False)])
        net.layers[0].kernel.assign(scale * np.arange(6.0).reshape(2, 3))
        return net

    model = st.PolicyDistiller(policy(1.0), policy(2.0))
    model.compile("sgd")
    assert model.evaluate(X, verbose=0, return_dict=True)["kl"] > 0.05
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    again.target = policy(1.0)  # the student's own weights: it says the same
    logs = again.evaluate(X, verbose=0, return_dict=True)
    assert [logs["kl"], logs["d1_loss"]] == pytest.approx([0, 0], abs=1e-6)
    again.fit(X, verbose=0)
    assert len(again.trainable_variables) == 1


def test_a_target_of_shared_weights_is_refused_whenever_it_is_set():
    model = student(None)
    with pytest.raises(ValueError, match=r"SobolevModel.target: the net shares '.*kernel'"):
        model.target = model.net
    net = linear([1, 1])
    with pytest.raises(ValueError, match="SobolevModel: the net shares"):
        st.SobolevModel(net, target=net)
    wide = keras.Sequential([keras.Input([2]), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="PolicyDistiller: the net shares"):
        st.PolicyDistiller(wide, wide)


def test_a_layer_that_computes_its_own_jet_keeps_it():
    class Black(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight((2, 1), "ones")

        def call(self, x):
            return x @ self.w

        def jet(self, x, order):
            return st.Jet(self(x), (0 * x[:, None] + 7.0,))

    model = student(Black())
    assert losses(model) == pytest.approx([0, 72], abs=1e-5)
    assert len(model.trainable_variables) == 1


def test_a_clone_says_that_its_teacher_has_random_weights():
    teacher = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model = st.SobolevModel(st.nets.mlp(2, hidden=[4]), target=targets.Teacher(teacher))
    x = np.ones([4, 2], "float32")
    clone = keras.models.clone_model(model)
    clone.compile("sgd")
    with pytest.warns(UserWarning, match="fit: the teacher has the random weights of its config"):
        clone.fit(x, verbose=0)
    clone = keras.models.clone_model(model)
    clone.target.set_weights(model.target.get_weights())
    clone.set_weights(model.get_weights())
    clone.compile("sgd")
    model.compile("sgd")
    assert clone.evaluate(x, verbose=0) == model.evaluate(x, verbose=0)


def test_a_loaded_model_has_its_teachers_weights(tmp_path):
    dense = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(3.0))
    teacher = keras.Sequential([keras.Input([2]), dense])
    model = st.SobolevModel(st.nets.mlp(2, hidden=[4]), target=targets.Teacher(teacher))
    model.compile("sgd")
    x = np.ones([4, 2], "float32")
    model.fit(x, verbose=0)
    model.save(tmp_path / "model.keras")
    keras.models.load_model(tmp_path / "model.keras").fit(x, verbose=0)  # a warning is an error
