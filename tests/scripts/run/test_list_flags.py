"""Flags that are lists of numbers."""

import pytest

from train.lib.run import list_flags
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings


@pytest.mark.parametrize("typed", [["20", "0"], ["-1"], ["x"], ["2.5"], []])
def test_lists_of_anything_else_than_whole_numbers_are_refused(typed):
    message = f"--hidden={','.join(typed)}: expected whole numbers of at least 1, as in 20,100"
    with pytest.raises(UsageError) as refused:
        list_flags.whole_numbers(Settings({"hidden": typed}), "hidden")
    assert str(refused.value) == message


def test_whole_numbers_of_a_flag():
    typed = Settings({"hidden": ["20", " 7 ", "20"]})
    assert list_flags.whole_numbers(typed, "hidden") == [20, 7, 20]  # widths of layers
    assert list_flags.distinct_whole_numbers(typed, "hidden") == [20, 7]


@pytest.mark.parametrize(
    ("typed", "options", "expected"),
    [
        (["1", "0"], {}, "numbers above 0"),
        (["-1e-9"], {"zero": True}, "numbers of at least 0"),
        (["x"], {"zero": True}, "numbers of at least 0"),
        (["inf"], {}, "numbers above 0"),
        (["nan"], {"zero": True, "below": 5}, "numbers of at least 0 and below 5"),
        (["100"], {"below": 100}, "numbers above 0 and below 100"),
        ([], {}, "numbers above 0"),
        (100.0, {"below": 100}, "numbers above 0 and below 100"),
    ],
)
def test_numbers_out_of_range_are_refused(typed, options, expected):
    text = ",".join(typed) if isinstance(typed, list) else typed
    with pytest.raises(UsageError) as refused:
        list_flags.distinct_numbers(Settings({"alphas": typed}), "alphas", **options)
    assert str(refused.value) == f"--alphas={text}: expected {expected}"


@pytest.mark.parametrize(
    ("typed", "options", "numbers"),
    [
        (["3", "0.1", "3.0"], {}, [3.0, 0.1]),
        (("5e-324",), {"below": 1}, [5e-324]),
        (["0", "1"], {"zero": True}, [0.0, 1.0]),
        (0.5, {}, [0.5]),
    ],
)
def test_each_number_of_a_flag_once(typed, options, numbers):
    settings = Settings({"alphas": typed})
    assert list_flags.distinct_numbers(settings, "alphas", **options) == numbers
