"""What the suites share: a benchmark function, and times taken in turns."""

import time

import numpy as np
import tensorflow as tf

import sobolev_tf as st


def styblinski_tang(x):
    """0.5 sum(x⁴ - 16x² + 5x), [B,2] -> [B,1]: section 4.1."""
    return 0.5 * tf.reduce_sum(x**4 - 16 * x**2 + 5 * x, axis=1, keepdims=True)


def table(points, seed):
    """Uniform points on [-5,5]² with values and gradients."""
    x = np.random.default_rng(seed).uniform(-5, 5, [points, 2]).astype("float32")
    return st.targets.Table(x, *st.targets.tabulate(styblinski_tang, x))


def in_turns(runs, calls, turns):
    """Seconds a call [turns, run]: the runs one after another, many times, since others may use
    the machine. The first turn, which compiles, is left out."""
    seconds = [[_seconds(run, calls) / calls for run in runs] for _ in range(turns + 1)]
    return np.array(seconds[1:])


def _seconds(run, calls):
    start = time.perf_counter()
    run(calls)
    return time.perf_counter() - start
