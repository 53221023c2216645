"""What the suites share: a benchmark function, and times taken in turns."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.regression import functions

Loop = Callable[[int], Any]  # n -> n calls of what is measured
Rows = Iterator[tuple[str, Any]]  # (what was measured, the number)


def styblinski_tang(count: int, seed: int) -> st.targets.Table:
    """Return Styblinski-Tang's values and gradients at uniform points on [-5,5]²."""
    x = np.random.default_rng(seed).uniform(-5, 5, [count, 2]).astype("float32")
    return st.targets.Table(x, *st.targets.tabulate(functions.SEVEN["styblinski_tang"], x))


def step_runner(model: keras.Model, data: Any, jit_compile: bool = False) -> Loop:
    """Return n -> n training steps of a compiled model on one batch that is already in memory.

    Args:
      model: compiled.
      data: the batch.
      jit_compile: whether XLA compiles the step.
    """
    data = tf.nest.map_structure(tf.constant, data)
    model.optimizer.build(model.trainable_variables)
    # Traced here: TensorFlow would warn of one trace for each of a few models of few steps.
    step = tf.function(model.train_step, autograph=False, jit_compile=jit_compile)
    step = step.get_concrete_function(data)

    def run(n):
        for _ in range(n):
            step(data)

    return run


def seconds_in_turns(runs: Sequence[Loop], calls: int, turns: int) -> np.ndarray:
    """Time the runs one after another, many times, since others may use the machine.

    Args:
      runs: functions of a number of calls.
      calls: calls of each run in a turn.
      turns: how many turns; one more, which compiles, comes first and is left out.

    Returns:
      Seconds of one call [turns, run].
    """
    seconds = [[_seconds(run, calls) / calls for run in runs] for _ in range(turns + 1)]
    return np.array(seconds[1:])


def _seconds(run: Loop, calls: int) -> float:
    start = time.perf_counter()
    run(calls)
    return time.perf_counter() - start
