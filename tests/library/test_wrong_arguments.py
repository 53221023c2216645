"""Nets, losses, metrics and labels: what is of a wrong type is one line of the library's own."""

import keras
import numpy as np
import pytest

import sobolev_tf as st
from tests.support.refusals import refused_in_one_line

X, Y = np.ones([6, 4], "float32"), np.array([0, 1, 2, 0, 1, 7])
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def decoupled():
    inputs = keras.Input([4])
    hidden = keras.layers.Dense(8, name="h1")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    model = st.DecoupledModel(st.split(net, at=["h1"]), critic=st.synthetic.dense_critic)
    model.compile("sgd", "sgd", CROSS_ENTROPY)
    return model


def classifier(**settings):
    model = st.SobolevModel(st.nets.mlp(4, 3, hidden=[4]), order=0)
    model.compile(**{"optimizer": "sgd", "loss": CROSS_ENTROPY} | settings)
    return model


REFUSED = {
    "class": (
        lambda: decoupled().fit(X, Y, verbose=0),
        r"DecoupledModel.fit: y is 7 in row 5, .* from 0 to 2",
    ),
    "negative": (
        lambda: decoupled().fit(X, -Y, verbose=0),
        r"DecoupledModel.fit: y is -1 in row 1, .* from 0 to 2",
    ),
    "evaluate": (lambda: decoupled().evaluate(X, Y, verbose=0), "DecoupledModel.evaluate: .* 7"),
    "model": (lambda: classifier().fit(X, Y, verbose=0), "SobolevModel.fit: .*label value of 7"),
    "labels": (lambda: decoupled().fit(X, np.ones([6, 2, 2]), verbose=0), "DecoupledModel.fit: "),
    "inputs": (lambda: st.nets.mlp("2"), "mlp: inputs is a whole number"),
    "outputs": (lambda: st.nets.mlp(2, 0), "mlp: outputs is a whole number of at least 1"),
    "hidden": (lambda: st.nets.mlp(2, hidden=8), "mlp: hidden is a list of whole numbers"),
    "waves": (lambda: st.nets.sine_mlp(2, hidden=[]), "sine_mlp: hidden has no layer"),
    "width": (lambda: st.nets.cifar10(width="a"), "cifar10: width is a finite number above 0"),
    "actions": (lambda: st.nets.atari_teacher(2.5), "atari_teacher: actions is a whole number"),
    "loss": (lambda: classifier(loss="foo"), "loss is a Keras loss, its name, .* 'foo'"),
    "optimizer": (lambda: classifier(optimizer=3), "optimizer is a Keras optimizer .* got 3"),
    "floor": (lambda: st.losses.RelativeNorm("a"), "RelativeNorm: floor is a finite number"),
    "jet_metrics": (lambda: classifier(jet_metrics=3), "jet_metrics is a list"),
    "fn": (lambda: st.check_labels(X, X, X, fn=3), "check_labels: fn is a function, got 3"),
    "seed": (lambda: st.check_labels(X, X, X, seed="a"), "check_labels: seed is a whole number"),
    "text": (lambda: st.check_labels(["a"], [1.0], [1.0]), "check_labels: x holds"),
    "at": (lambda: st.split(st.nets.mlp(2), at=None), "split: at is a list of layer names"),
    "names": (lambda: st.split(st.nets.mlp(2), at=[3]), "split: at is a list of layer names"),
    "every": (lambda: cut(diagnose_every=1.5), "DecoupledModel: diagnose_every is a whole"),
    "compile's": (lambda: cut(label_weight=-1.0), "'label_weight'; it belongs to `compile`"),
    "typo": (lambda: cut(gradient_taget="true"), "did you mean 'gradient_target'"),
    "order's typo": (lambda: st.SobolevModel(st.nets.mlp(2), oder=2), "did you mean 'order'"),
    "old": (lambda: st.PolicyDistiller(st.nets.mlp(2, 3), frames=True), "'uint8_images' now"),
    "alpha": (lambda: st.PolicyDistiller(st.nets.mlp(2, 3), alpha="1"), "alpha is a finite number"),
}


def cut(**settings):
    stages = decoupled().stages
    return st.DecoupledModel(stages, critic=st.synthetic.dense_critic, **settings)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(name):
    caught = refused_in_one_line(*REFUSED[name])
    assert "/sobolev_tf/" in str(caught.traceback[-1].path)


def test_a_net_of_a_dict_is_refused_in_one_line():
    x = keras.Input([2])
    net = keras.Model(x, {"a": keras.layers.Dense(1)(x)})
    with pytest.raises(ValueError, match="one tensor, got one that gives a dict"):
        st.SobolevModel(net)
