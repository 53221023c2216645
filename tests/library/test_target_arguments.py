"""What targets and projections refuse: one line of the library's own."""

import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import Projection, SobolevModel, check_labels, jet, nets, targets

X, Y = np.zeros([4, 2]), np.zeros([4, 1])

REFUSED = {
    "no function": (lambda: targets.Function(3), "Function: fn is a function, got 3"),
    "a class": (lambda: targets.Function(dict), "Function: fn is a function, got a dict"),
    "no black box": (lambda: targets.FiniteDifferences("f"), "fn is a function, got 'f'"),
    "scheme": (lambda: targets.FiniteDifferences(np.sin, 2), "scheme is 'central'"),
    "step": (lambda: targets.FiniteDifferences(np.sin, step="1e-3"), "step is a length"),
    "scale": (lambda: targets.FiniteDifferences(np.sin, scale=None), "scale is a length"),
    "outputs": (lambda: targets.FiniteDifferences(np.sin, outputs=[1.5]), "outputs is a list"),
    "one output": (lambda: targets.FiniteDifferences(np.sin, outputs=1), "outputs is a list"),
    "order": (lambda: targets.FiniteDifferences(np.sin).jet(X, 1.0), "order is a whole number"),
    "one number": (lambda: targets.FiniteDifferences(np.sin).jet(1.0), "x is one number"),
    "Teacher": (lambda: targets.Teacher(3), "Teacher takes a Keras model, or a SavedModel"),
    "Teacher of code": (lambda: targets.Teacher(tf.sin), "Teacher takes a Keras model"),
    "Table": (lambda: targets.Table(3, Y), "Table: x is an array with a row for each example"),
    "Table's rows": (lambda: targets.Table(X, Y[:3]), "Table: x has 4 rows and y has 3"),
    "batch": (lambda: targets.Table(X, Y).dataset(2.5), "batch_size is a whole number"),
    "no rows": (lambda: targets.Table(X[:0], Y[:0]).dataset(2), "x has 0 rows"),
    "tabulate": (lambda: targets.tabulate(3, X), "tabulate: target is a function, got 3"),
    "tabulate's order": (lambda: targets.tabulate(tf.sin, X, "1"), "tabulate: order is a whole"),
    "rows at once": (lambda: targets.tabulate(tf.sin, X, 1, "8"), "tabulate: batch_size is"),
    "no side": (lambda: Projection(1), "Projection: side is 'output' or 'input', got 1"),
    "count": (lambda: Projection("input", count="2"), "Projection: count is a whole number"),
    "half": (lambda: Projection("input", count=1.5), "Projection: count is a whole number"),
    "seed": (lambda: Projection("input", seed="a"), "seed is a whole number"),
    "long seed": (lambda: Projection("input", seed=2**70), "seed is a whole number of 64 bits"),
    "unbiased": (lambda: Projection("input", unbiased="yes"), "unbiased is True or False"),
    "length": (lambda: Projection("output", length=0), "length is a finite number above 0"),
    "a path": (lambda: SobolevModel("net.keras"), "SobolevModel: net is a keras.Model"),
    "no path": (lambda: model(target="teacher"), "SobolevModel: Teacher found no SavedModel at"),
    "a number": (lambda: model(target=3), "SobolevModel: target is a function"),
    "no order": (lambda: model(order=None), "SobolevModel: order is a whole number"),
    "half an order": (lambda: model(order=0.5), "SobolevModel: order is a whole number"),
    "model's seed": (lambda: model(projection="input", seed="a"), "SobolevModel: seed is a whole"),
    "model's side": (
        lambda: model(projection="both"),
        "SobolevModel: projection is None, 'output'",
    ),
    "model's count": (
        lambda: model(projection="input", projections=0),
        "SobolevModel: projections is a whole",
    ),
    "model's kind": (
        lambda: model(projection="input", contraction="all"),
        "SobolevModel: contraction is 'distinct'",
    ),
    "model's input": (lambda: model(wrt=3), "SobolevModel: wrt is the name of an input"),
    "slopes' shape": (lambda: check_labels(X, Y, Y[:, :0]), "check_labels: dy has shape"),
    "slopes' rows": (lambda: check_labels(X, Y, X[:2]), "check_labels: dy has shape"),
    "infinite": (lambda: check_labels(X, Y, X + np.inf), "check_labels: dy has entries"),
    "integers": (lambda: jet(tf.sin, X.astype(int)), "jet: x holds int64"),
}


def model(**settings):
    return SobolevModel(nets.mlp(2), **settings)


@pytest.mark.parametrize("name", REFUSED)
def test_settings_of_a_wrong_type_are_refused_in_one_line(name):
    run, words = REFUSED[name]
    with pytest.raises(ValueError) as caught:
        run()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "/sobolev_tf/" in str(caught.traceback[-1].path)


def test_numbers_of_numpy_are_numbers():
    kind = Projection("input", count=np.int64(2), seed=np.int32(3), length=np.float32(2))
    assert kind.sample(1).directions(tf.ones([4, 2]), 0).shape == (4, 2, 2)
    assert targets.tabulate(tf.sin, X, np.int64(0), np.int32(3))[0].shape == (4, 2)
