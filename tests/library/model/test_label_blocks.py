"""Labels of several inputs by name: joined to the same numbers as one array."""

import keras
import numpy as np
import pytest

from sobolev_tf import SobolevModel, fit_lbfgs

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=[20, 2]).astype("f"), RNG.normal(size=[20, 1]).astype("f")
HALF = RNG.normal(size=[20, 1, 3, 3]).astype("f")
HESSIAN = HALF + HALF.swapaxes(2, 3)
PAIRS = {
    "a": {"a": HESSIAN[:, :, :2, :2], "b": HESSIAN[:, :, :2, 2:]},
    "b": {"a": HESSIAN[:, :, 2:, :2], "b": HESSIAN[:, :, 2:, 2:]},
}


def model(order=2, wrt=("a", "b")):
    a, b = keras.Input([2], name="a"), keras.Input([1], name="b")
    hidden = keras.layers.Dense(8, "tanh")(keras.layers.Concatenate()([a, b]))
    made = SobolevModel(keras.Model([a, b], keras.layers.Dense(1)(hidden)), order, wrt=list(wrt))
    made.compile("sgd", run_eagerly=True)
    return made


def labels(d2):
    return {"value": np.ones([20, 1], "f"), "d1": np.ones([20, 1, 3], "f"), "d2": d2}


@pytest.mark.parametrize(
    "d2", [PAIRS, {"a": PAIRS["a"], "b": {"b": PAIRS["b"]["b"]}}], ids=["all", "half"]
)
def test_a_hessian_by_names_is_the_joined_one(d2):
    one, other = model(), model()
    other.set_weights(one.get_weights())
    expected = one.evaluate([A, B], labels(HESSIAN), verbose=0)
    np.testing.assert_allclose(other.evaluate([A, B], labels(d2), verbose=0), expected, rtol=1e-6)
    one.adapt([A, B], labels(HESSIAN))
    other.adapt([A, B], labels(d2))
    np.testing.assert_allclose(one.label_sizes["d2"], other.label_sizes["d2"], rtol=1e-6)
    losses = [fit_lbfgs(m, [A, B], labels(y), iterations=2).history["loss"] for m, y in
              ((one, HESSIAN), (other, d2))]  # fmt: skip
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_names_in_another_order_are_joined_in_the_order_of_wrt():
    one, other = model(wrt=["b", "a"]), model()
    other.set_weights(one.get_weights())
    order = [2, 0, 1]
    swapped = HESSIAN[:, :, order][:, :, :, order]
    expected = one.evaluate([A, B], {"d2": swapped}, verbose=0)
    np.testing.assert_allclose(one.evaluate([A, B], {"d2": PAIRS}, verbose=0), expected, rtol=1e-6)


@pytest.mark.parametrize("use", ["fit", "evaluate", "adapt"])
def test_diagonal_blocks_lack_the_others(use):
    blocks = {"a": PAIRS["a"]["a"], "b": PAIRS["b"]["b"]}
    with pytest.raises(ValueError, match="label d2 lacks the block of 'a' and 'a'") as caught:
        getattr(model(), use)([A, B], labels(blocks))
    assert "\n" not in str(caught.value)


def test_one_input_may_be_named():
    one = model(wrt=["a"])
    expected = one.evaluate([A, B], {"d2": PAIRS["a"]["a"]}, verbose=0)
    named = one.evaluate([A, B], {"d2": {"a": {"a": PAIRS["a"]["a"]}}}, verbose=0)
    np.testing.assert_allclose(named, expected)
