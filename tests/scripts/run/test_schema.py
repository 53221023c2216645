"""Files that parse, but have another shape: never a traceback, never trusted."""

import numpy as np
import pytest

from train.lib.run import schema

SHAPE = {"step": int, "facts": dict, "commit": schema.OPTIONAL_TEXT, "kl": schema.NUMBER}
WHOLE = {"step": 3, "facts": {}, "commit": None, "kl": 0.5}


def test_what_has_the_shape_passes():
    schema.check(WHOLE, SHAPE)
    schema.check(WHOLE | {"kl": 1, "more": []}, SHAPE, {"seconds": schema.NUMBER})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": "3"}, "'step' is '3', expected int"),
        ({"step": True}, "'step' is True, expected int"),
        ({"step": 3.5}, "'step' is 3.5, expected int"),
        ({"facts": [1]}, r"'facts' is \[1\], expected dict"),
        ({"commit": 1}, "'commit' is 1, expected str or null"),
        ({"kl": float("nan")}, "'kl' is nan, expected int or float"),
        ({"kl": None}, "'kl' is None"),
        ({"seconds": "x" * 99}, r"'seconds' is 'x+\.\.\., expected int or float"),
    ],
)
def test_what_differs_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        schema.check(WHOLE | change, SHAPE, {"seconds": schema.NUMBER})


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_other_values_are_no_dict(value):
    with pytest.raises(ValueError, match="expected a dict"):
        schema.check(value, SHAPE)


def test_a_key_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="lacks 'step'"):
        schema.check({"facts": {}}, SHAPE)


@pytest.mark.parametrize("value", [None, [], "12", {}, [1, "2"], [float("inf")], [[1]]])
def test_numbers_are_a_list_of_finite_ones(value):
    schema.check_numbers([1, 2.5])
    with pytest.raises(ValueError, match="it holds"):
        schema.check_numbers(value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"scores": np.zeros(7)}, r"scores is \[7\], expected \[3\]"),
        ({"scores": np.array(["a", "b", "c"])}, "scores holds <U1, expected real numbers"),
        ({}, r"scores is missing, expected \[3\]"),
        ({"scores": np.zeros(3), "more": np.zeros(1)}, r"more is \[1\], expected nothing"),
    ],
)
def test_arrays_have_names_shapes_and_kinds(arrays, message):
    schema.check_arrays({"scores": np.zeros(3)}, {"scores": [3]})
    with pytest.raises(ValueError, match=message):
        schema.check_arrays(arrays, {"scores": [3]})


def test_shares_are_so_many_numbers_from_0_to_1():
    schema.check_shares([0, 0.5, 1], 3)
    for value in ([0.5], [0.5] * 4, [0.5, 0.5, 1.01], [-0.01, 0.5, 0.5], [0.5, 0.5, "a"], None):
        with pytest.raises(ValueError, match=r"^it holds "):
            schema.check_shares(value, 3)
