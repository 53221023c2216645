"""The one-cycle learning rate: numbers by hand, files, and what is no cycle."""

import keras
import numpy as np
import pytest

import sobolev_tf as st


def test_huge_and_savines_points_by_hand():
    rate = st.schedules.OneCycle(0.1, 1600)
    by_hand = {
        0: 1e-8,
        160: 0.05,  # half way to the peak
        320: 0.1,
        640: 0.055,
        960: 0.01,
        1200: 0.01 + 0.5 * (1e-6 - 0.01),
        1440: 1e-6,
        1600: 1e-8,
        9999: 1e-8,
    }
    for step, expected in by_hand.items():
        np.testing.assert_allclose(rate(step), expected, rtol=2e-4, err_msg=str(step))


def test_points_of_ones_own_by_hand():
    rate = st.schedules.OneCycle(2.0, 10, points=[(0, 0.5), (0.5, 1), (1, 0)])
    expected = [1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 1.6, 1.2, 0.8, 0.4, 0.0, 0.0]
    np.testing.assert_allclose([rate(step) for step in range(12)], expected, atol=1e-6)


def test_an_optimizer_with_it_is_saved_and_loaded_and_takes_its_rate():
    config = keras.optimizers.serialize(keras.optimizers.SGD(st.schedules.OneCycle(1.0, 10)))
    optimizer = keras.optimizers.deserialize(config)
    variable = keras.Variable(0.0)
    for _ in range(2):
        optimizer.apply([np.float32(-1)], [variable])
    np.testing.assert_allclose(float(variable.value), 1e-7 + 0.5, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"peak": 0.0}, "peak"),
        ({"peak": float("nan")}, "peak"),
        ({"num_steps": 0}, "num_steps"),
        ({"num_steps": 2.5}, "num_steps"),
        ({"points": []}, "rise from 0 to 1"),
        ({"points": [(0, 1)]}, "rise from 0 to 1"),
        ({"points": [(0, 0), (0.5, 1), (0.5, 1), (1, 0)]}, "rise from 0 to 1"),
        ({"points": [(0, 0), (0.5, 2), (1, 0)]}, "of the peak, expected 0 to 1"),
    ],
)
def test_what_is_no_cycle_is_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        st.schedules.OneCycle(**{"peak": 0.1, "num_steps": 10, **arguments})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("points", [None, 5, "abc", [0, 1], [(0, 1, 2), (1, 0, 2)]])
def test_points_are_pairs(points):
    with pytest.raises(ValueError, match="OneCycle: points are pairs"):
        st.schedules.OneCycle(0.1, 10, points)
