"""The checks of public doors: what they return, and the one line that they raise."""

import keras
import numpy as np
import pytest

from sobolev_tf import require


def _line(f, *args, **kwargs):
    with pytest.raises(ValueError) as error:
        f(*args, **kwargs)
    text = str(error.value)
    assert len(text.splitlines()) == 1
    return text


@pytest.mark.parametrize("value", [3, np.int64(3), np.array(3)])
def test_whole_numbers_come_back_as_ints(value):
    assert require.whole_number("jet", "order", value, at_least=0) == 3
    assert type(require.whole_number("jet", "order", value)) is int


@pytest.mark.parametrize("value", [-1, 1.5, 2.0, "1", None, True, [1], np.zeros(3), "1\n2"])
def test_what_is_no_whole_number_is_refused(value):
    text = _line(require.whole_number, "jet", "order", value, at_least=0)
    assert text.startswith("jet: order is a whole number of at least 0, got ")


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2.0)])
def test_numbers_come_back_as_floats(value):
    assert require.number("fit", "rate", value, at_least=2) == 2.0


@pytest.mark.parametrize(
    "value", [0, -1.0, "1", None, True, float("nan"), float("inf"), 1j, [1.0], np.zeros(2)]
)
def test_what_is_no_finite_number_is_refused(value):
    text = _line(require.number, "fit", "rate", value, above=0)
    assert text.startswith("fit: rate is a finite number above 0, got ")


def test_one_of_compares_types_before_values():
    assert require.one_of("f", "kind", None, ["a", None]) is None
    assert _line(require.one_of, "f", "kind", np.zeros(2), ["a", "b", None]) == (
        "f: kind is 'a', 'b' or None, got an array of shape [2]."
    )
    assert "got True" in _line(require.one_of, "f", "count", True, [1, 2])
    assert _line(require.one_of, "f", "kind", "c", ["a"]) == "f: kind is 'a', got 'c'."


def test_models_are_keras_models():
    net = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    assert require.model("Teacher", "model", net) is net
    for value in (None, 3, "net.keras", print, keras.Sequential):
        assert "model is a keras.Model, got" in _line(require.model, "Teacher", "model", value)
    assert "keras.Sequential([layer])" in _line(
        require.model, "Teacher", "model", keras.layers.Dense(1)
    )


def test_rows_are_counted():
    arrays = {"x": np.zeros([4, 2]), "label value": np.zeros([4, 1]), "sample_weight": None}
    assert require.same_rows("fit", arrays) == 4
    arrays["sample_weight"] = np.ones(3)
    assert _line(require.same_rows, "fit", arrays) == (
        "fit: x has 4 rows and sample_weight has 3: each row of x needs one of every other array."
    )
    assert "x has 0 rows" in _line(require.same_rows, "fit", {"x": np.zeros([0, 2])})
    assert require.same_rows("fit", {"x": np.zeros([0, 2])}, at_least=0) == 0
    assert "a row for each example" in _line(require.same_rows, "fit", {"x": np.float32(1)})


def test_the_first_row_that_is_not_finite_is_named():
    x = np.zeros([5, 2, 3], "float32")
    require.finite_rows("fit", "x", x)
    x[3, 1, 2] = np.nan
    x[4] = np.inf
    assert "x has NaN, first in row 3" in _line(require.finite_rows, "fit", "x", x)
    assert "infinity, first in row 104" in _line(
        require.finite_rows, "fit", "x", x, missing=True, start=100
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "int64", "bool"])
def test_finite_numbers_pass_even_where_their_sum_is_infinite(dtype):
    largest = np.finfo(dtype).max if np.dtype(dtype).kind == "f" else 1
    require.finite_rows("fit", "x", np.full([10, 2], largest, dtype))
    require.finite_rows("fit", "x", np.zeros([0, 2], dtype))


def test_weights_are_finite_and_not_negative():
    require.weights("fit", "sample_weight", np.array([0, 1, 2]))
    require.weights("fit", "sample_weight", np.array([[0.0], [1.0]]))
    negative = np.array([1.0, 1.0, -0.5])
    assert _line(require.weights, "fit", "sample_weight", negative, start=10) == (
        "fit: sample_weight is -0.5 in row 12: weights are at least 0."
    )
    negative[0] = np.nan
    assert "NaN, first in row 0" in _line(require.weights, "fit", "sample_weight", negative)
