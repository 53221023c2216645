"""Tasks in processes: answers, errors, and who ends with whom."""

import logging
import multiprocessing
import os
import time
from pathlib import Path

import pytest
import tensorflow as tf

from train.lib.run import errors, processes


def double(task):
    if task < 0:
        raise errors.UsageError("below 0")
    if task > 99:
        raise FloatingPointError("the loss is not finite")
    return 2 * task


def sleep(path):
    path.write_text(str(os.getpid()))
    time.sleep(600)  # far beyond the deadline of `until`


def parent(path):
    list(processes.run(sleep, [path], 1))


def test_workers_answer_and_pass_errors_on():
    answers = processes.run(double, [1, 2, -3], 1)
    assert [next(answers), next(answers)] == [(1, 2), (2, 4)]
    with pytest.raises(errors.UsageError, match=r"^-3: below 0$"):
        next(answers)


@pytest.mark.parametrize("count", [0, 1])
def test_an_error_names_its_task_in_any_process(count):
    with pytest.raises(errors.CommandError, match=r"^100: the loss is not finite$") as raised:
        list(processes.run(double, [1, 100], count))
    assert raised.value.code == 1


def test_a_bug_in_this_process_stays_as_it_is():
    with pytest.raises(TypeError):
        list(processes.run(double, ["x"], 0))


def level(task):
    return tf.get_logger().level


def test_tracing_anew_is_no_news_in_this_process_either():
    before = tf.get_logger().level
    assert list(processes.run(level, ["x"], 0)) == [("x", logging.ERROR)]
    assert tf.get_logger().level == before


def test_a_bug_in_a_worker_is_named_with_its_task():
    with pytest.raises(errors.CommandError, match="x: TypeError"):
        list(processes.run(double, ["x"], 1))


def end_at_once(task):
    os._exit(3)


def end_at_three(task):
    return task if task < 3 else end_at_once(task)


def test_a_worker_that_dies_is_one_clear_line_with_its_task():
    line = r"^a worker process died: see above.*out of memory; being worked on: 3$"
    with pytest.raises(errors.CommandError, match=line):
        list(processes.run(end_at_three, [1, 2, 3, 4], 1))


def test_workers_that_are_no_longer_needed_end(tmp_path):
    """Whoever stops looking at the results does not wait for a task of ten minutes."""
    results = processes.run(wait_if_a_file, [1, tmp_path / "pid"], 1)
    assert next(results) == (1, 1)
    until(lambda: (tmp_path / "pid").exists())
    results.close()
    until(lambda: not multiprocessing.active_children())


def wait_if_a_file(task):
    return task if isinstance(task, int) else sleep(task)


def test_a_worker_ends_with_its_parent_in_the_middle_of_a_task(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=parent, args=[tmp_path / "pid"])
    process.start()
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process.kill()
    process.join()
    worker = Path("/proc", (tmp_path / "pid").read_text())
    until(lambda: not worker.exists() or "State:\tZ" in (worker / "status").read_text())


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
