"""Steps on several workers as events, by hand."""

import pytest

from train.bench import events, scaling
from train.bench.events import NETWORK, Task


def test_gradients_travel_while_lower_layers_compute():
    parts = [3.0, 1.0, 1.0]  # forward, then two layers backward
    # The top layer's gradient is ready at 4 and takes 2; the lower one's at 5 waits for it until 6.
    assert events.step(2, parts, {1: 2.0, 2: 0.5}) == 6.5
    # Without overlap: 4, reduced at 6, computed at 7, reduced at 7.5.
    assert events.step(2, parts, {1: 2.0, 2: 0.5}, overlap=False) == 7.5
    assert events.step(2, parts, {2: 2.5}) == 7.5


def test_workers_of_one_machine_share_its_cores():
    assert events.step(2, [3.0], {0: 1.0}, cores=2) == 4
    assert events.step(2, [3.0], {0: 1.0}, cores=1) == 7
    assert events.step(3, [3.0], {0: 1.0}, cores=2) == pytest.approx(5.5)


def test_the_slowest_worker_is_waited_for():
    tasks = [Task("a", "0", 1.0), Task("b", "1", 4.0), Task("sum", NETWORK, 1.0, ("a", "b"))]
    assert events.ends(tasks, 2) == {"a": 1, "b": 4, "sum": 5}
    # On one core both run at half speed until a ends at 2; b has 3 left.
    assert events.ends(tasks, 1) == {"a": 2, "b": 5, "sum": 6}


def test_one_all_reduce_at_the_end_is_the_formula():
    step = scaling.Step(seconds=1.0, net_bytes=8.0, critic_bytes=4.0)
    reduce = scaling.ring(4, 12.0, 2.0, 0.5)
    assert events.step(4, [1.0], {0: reduce}) == scaling.synchronous(step, 4, 2.0, 0.5)


def test_tasks_that_wait_for_each_other_are_refused():
    with pytest.raises(ValueError, match="wait for each other"):
        events.ends([Task("a", "0", 1.0, ("b",)), Task("b", "0", 1.0, ("a",))], 1)
