"""Errors of live targets inside `fit` and the solvers: the user's own, or one line."""

import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import SobolevModel, fit_lbfgs, nets, targets

X = np.random.default_rng(0).uniform(-1, 1, [16, 2]).astype("float32")


class OwnError(Exception):
    pass


def model(target, **settings):
    made = SobolevModel(nets.mlp(2, hidden=[4]), target=target)
    made.compile("sgd", **settings)
    return made


def fails(x):
    raise OwnError("the simulator stopped")


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_what_a_black_box_raises_is_raised_as_it_was(method, eager):
    made = model(targets.FiniteDifferences(fails), run_eagerly=eager)
    with pytest.raises(OwnError, match="the simulator stopped"):
        getattr(made, method)(X, verbose=0)


def test_one_error_may_be_raised_twice():
    down = OwnError("the simulator is down")

    def fn(x):
        raise down

    made = model(targets.FiniteDifferences(fn))
    for _ in range(2):
        with pytest.raises(OwnError, match="is down"):
            made.fit(X, verbose=0)


def test_an_earlier_error_of_the_black_box_does_not_stand_for_another():
    made = model(targets.FiniteDifferences(fails))
    with pytest.raises(OwnError):
        made.fit(X, verbose=0)
    rows = tf.data.Dataset.range(16).map(lambda i: tf.gather(X, i + 15))
    labeled = rows.map(lambda x: (x, (x[:1], tf.ones([1, 2])))).batch(4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not in"):
        made.fit(labeled, verbose=0)


@pytest.mark.parametrize("eager", [False, True])
def test_a_solver_raises_it_too(eager):
    with pytest.raises(OwnError, match="the simulator stopped"):
        fit_lbfgs(model(targets.FiniteDifferences(fails), run_eagerly=eager), X, iterations=1)


def test_a_black_box_that_works_again_is_learned_from():
    calls = []

    def once(x):
        calls.append(1)
        if len(calls) == 1:
            raise OwnError("busy")
        return x[:, :1] ** 2

    made = model(targets.FiniteDifferences(once))
    with pytest.raises(OwnError):
        made.fit(X, verbose=0)
    assert np.isfinite(made.fit(X, verbose=0).history["loss"]).all()


ANSWERS = {
    "fewer rows": (targets.FiniteDifferences(lambda x: x[:3]), r"fn returned shape \(3, 2\)"),
    "nothing": (targets.FiniteDifferences(lambda x: None), r"fn returned shape \(\)"),
    "None": (lambda x: None, "target: fn gives None"),
    "a list": (lambda x: [x, x], "target: fn gives a list of 2"),
    "a sum": (
        lambda x: tf.reduce_sum(x, 0, keepdims=True)[:, :1],
        r"target: fn gives shape \[1, 1",
    ),
    "a row": (
        lambda x: x[0],
        r"target: fn gives shape \[2\] for x of shape \[None, 2\], expected \[B",
    ),
    "columns": (tf.transpose, r"target: fn gives shape \[2, None\] for x of shape \[None, 2\]"),
    "complex": (lambda x: tf.cast(x[:, :1], tf.complex64), "target: fn gives complex64, expected"),
    "NumPy": (lambda x: np.sin(x)[:, :1], "target: fn computes with NumPy.*FiniteDifferences"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_another_kind_is_one_line(name):
    target, words = ANSWERS[name]
    with pytest.raises(ValueError, match=words) as caught:
        model(target).fit(X, verbose=0)
    assert "\n" not in str(caught.value)
