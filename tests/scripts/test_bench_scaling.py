"""Formulas of a step on n accelerators, by hand."""

import pytest

from train.bench import scaling
from train.bench.scaling import Step

STEP = Step(seconds=1.0, net_bytes=8.0, critic_bytes=4.0)


def test_a_ring_sends_every_byte_almost_twice():
    assert scaling.ring(1, 8.0, 2.0, 0.5) == 0
    assert scaling.ring(2, 8.0, 2.0, 0.0) == 4.0  # half there, half back
    assert scaling.ring(10**6, 8.0, 2.0, 0.0) == pytest.approx(8.0, rel=1e-5)


def test_steps_by_hand():
    assert scaling.synchronous(STEP, 4, 2.0, 0.0) == 1 + 2 * 3 / 4 * 12 / 2
    assert scaling.sequential(STEP, 4, 2.0, 0.0) == 1 + 2 * 3 / 4 * 8 / 2 + 4 * (2 * 3 / 4 * 4 / 2)
    assert scaling.sequential(STEP, 1, 2.0, 0.5) == scaling.synchronous(STEP, 1, 2.0, 0.5) == 1
    assert scaling.parameter_server(STEP, 1, 2.0) == 1 + 2 * 12 / 2
    assert scaling.parameter_server(STEP, 100, 2.0) == 100 * 12 / 2
    assert scaling.parameter_server(STEP, 100, 2.0, servers=100) == 13
    assert scaling.stages(STEP, 4, 1.0, 10.0, 0.01) == 0.25
    assert scaling.stages(STEP, 4, 10.0, 10.0, 0.01) == 1.01
    assert scaling.efficiency(STEP, 4.0) == 0.25
