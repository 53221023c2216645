"""Labels that contradict each other: one warning, and none for noise that they share."""

import warnings

import numpy as np
import pytest

from sobolev_tf import SobolevModel, nets
from sobolev_tf.model.contradictions import warn_of_contradictions
from sobolev_tf.model.labels import normalize

RANDOM = np.random.default_rng(0)
D1 = RANDOM.normal(size=[12, 2, 3])
NOISE = RANDOM.normal(size=[12, 2, 3, 3])
D2 = NOISE + np.swapaxes(NOISE, 2, 3)
V, U = RANDOM.normal(size=[12, 3]), RANDOM.normal(size=[12, 2])
JVP = np.einsum("bki,bi->bk", D1, V)
VJP = np.einsum("bki,bk->bi", D1, U)


def model(order=2):
    return SobolevModel(nets.mlp(3, 2, hidden=[4], activation="tanh"), order)


def wrong(array, row=7, by=0.3):
    array = np.array(array)
    array[row].flat[1] += by
    return array


def warned(y, order=2, made=None):
    made = made or model(order)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_contradictions(made, "fit", normalize(y, order))
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_hessian_that_is_not_symmetric(dtype):
    [text] = warned({"d2": wrong(D2).astype(dtype)})
    assert text.startswith("fit: label d2 is not symmetric, first in row 7: ")
    assert len(text.splitlines()) == 1
    assert not warned({"d2": D2.astype(dtype)})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["jvp", "vjp"])
def test_slopes_along_directions_that_are_not_those_of_d1(name, dtype):
    label, directions = (JVP, V) if name == "jvp" else (VJP, U)
    y = {"d1": D1.astype(dtype), name: label.astype(dtype), "directions": directions.astype(dtype)}
    assert not warned(y)
    [text] = warned(y | {name: wrong(label).astype(dtype)})
    assert text.startswith(f"fit: label {name} is not d1 along its directions, first in row 7: ")
    assert warned(y | {"directions": -directions})
    several = {name: label[:, None], "directions": directions[:, None]}
    assert not warned({"d1": D1} | several)


def test_rounding_and_unknown_entries_are_no_contradiction():
    large = D2 + 1e4 * np.eye(3)
    assert not warned({"d2": np.float32(large)})
    half = np.where(np.triu(np.ones([3, 3], bool)), D2, np.nan)
    assert not warned({"d2": half})
    rounded = np.float32(D2) * (1 + 1e-5 * RANDOM.normal(size=D2.shape).astype("float32"))
    assert not warned({"d2": rounded})
    flat = np.array(D2)
    flat[3] = 1e-9 * NOISE[3]  # rounding where the function has no curvature
    assert not warned({"d2": flat})
    missing = {"d1": wrong(D1, by=np.nan), "jvp": JVP, "directions": V}
    assert not warned(missing)
    assert not warned({"jvp": wrong(JVP), "directions": V})
    assert not warned((None, D1, None))


def test_third_derivatives_and_one_output_without_its_axis():
    noise = RANDOM.normal(size=[5, 3, 3, 3])
    axes = [(0, 1, 2, 3), (0, 1, 3, 2), (0, 2, 1, 3), (0, 2, 3, 1), (0, 3, 1, 2), (0, 3, 2, 1)]
    d3 = sum(np.transpose(noise, order) for order in axes)
    made = SobolevModel(nets.mlp(3, hidden=[4], activation="tanh"), order=3)
    assert not warned({"d3": d3}, 3, made)
    [text] = warned({"d3": wrong(d3, row=2)}, 3, made)
    assert "d3 is not symmetric, first in row 2" in text
    assert not warned({"d3": wrong(d3, row=2)}, 3, made)  # once for a model


def test_fit_warns():
    x = RANDOM.normal(size=[12, 3]).astype("float32")
    made = model()
    made.compile("sgd")
    with pytest.warns(UserWarning, match=r"fit: label d2 is not symmetric, first in row 7"):
        made.fit(x, {"d2": wrong(D2).astype("float32")}, verbose=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hessian_products_that_are_not_those_of_d2(dtype):
    hvp = np.einsum("bkij,bj->bki", D2, V)
    y = {"d2": D2.astype(dtype), "hvp": hvp.astype(dtype), "directions": V.astype(dtype)}
    assert not warned(y)
    [text] = warned(y | {"hvp": wrong(hvp).astype(dtype)})
    assert text.startswith("fit: label hvp is not d2 along its directions, first in row 7: ")
    several = {"hvp": np.stack([hvp, -hvp], 1), "directions": np.stack([V, -V], 1)}
    assert not warned({"d2": D2} | several)
    assert warned({"d2": D2} | several | {"hvp": np.stack([hvp, hvp], 1)})
