"""What the suites share: a benchmark function, and times taken in turns."""

import time

import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.regression import functions


def table(points, seed):
    """Styblinski-Tang at uniform points on [-5,5]², with values and gradients."""
    x = np.random.default_rng(seed).uniform(-5, 5, [points, 2]).astype("float32")
    return st.targets.Table(x, *st.targets.tabulate(functions.SEVEN["styblinski_tang"], x))


def runner(model, data):
    """n -> n training steps of a compiled model on one batch that is already in memory."""
    data = tf.nest.map_structure(tf.constant, data)
    model.optimizer.build(model.trainable_variables)
    # Traced here: TensorFlow would warn of one trace for each of a few models of few steps.
    step = tf.function(model.train_step).get_concrete_function(data)

    def run(n):
        for _ in range(n):
            step(data)

    return run


def in_turns(runs, calls, turns):
    """Seconds a call [turns, run]: the runs one after another, many times, since others may use
    the machine. The first turn, which compiles, is left out."""
    seconds = [[_seconds(run, calls) / calls for run in runs] for _ in range(turns + 1)]
    return np.array(seconds[1:])


def _seconds(run, calls):
    start = time.perf_counter()
    run(calls)
    return time.perf_counter() - start
