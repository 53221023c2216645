"""What `fit` costs over Keras's own: it checks that every number is finite."""

import functools
import time

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.bench import benchmark

POINTS = 100
WAYS = {  # of running steps
    "1 step a call": {},
    "32 steps a call": {"steps_per_execution": 32},
    "32 steps a call, jit_compile=True": {"steps_per_execution": 32, "jit_compile": True},
}


def rows(turns: int = 5, steps: int = 1984) -> benchmark.Rows:
    """2x256 ReLU, 100 points, Adam: processor time of `SobolevModel.fit` over `keras.Model.fit`.

    Both train one model, by turns. Arrays are checked once a fit, so that a longer one costs less.
    """
    table = benchmark.styblinski_tang(POINTS, seed=0)
    labels = {"value": table.labels[0], "d1": table.labels[1]}
    tensors = tf.data.Dataset.from_tensors((table.x, labels)).repeat(steps)
    streams = {"a data set of tensors": tensors, "a data set with map": tensors.map(_unchanged)}
    for way, settings in WAYS.items():
        for name, data in streams.items():
            yield from _row(f"{name}, {way}", settings, turns, x=data)
    arrays = {"x": table.x, "y": labels, "batch_size": POINTS, "epochs": max(steps // 2, 1)}
    yield from _row("arrays, 1 step an epoch", {}, turns, **arrays)


def _row(name, settings, turns, **passed):
    keras.utils.set_random_seed(0)
    model = st.SobolevModel(st.nets.mlp(2))
    model.compile(keras.optimizers.Adam(3e-5), **settings)
    fits = [model.fit, functools.partial(keras.Model.fit, model)]
    seconds = []
    for turn in range(turns + 1):  # the first one compiles
        order = (0, 1) if turn % 2 else (1, 0)
        times = {i: _processor_seconds(fits[i], passed) for i in order}
        seconds.append([times[0], times[1]])
    ours, keras_own = np.median(seconds[1:], axis=0)
    yield f"checks of data, {name}: ratio to Keras's fit (bar 1.02)", ours / keras_own


def _processor_seconds(fit, passed):
    start = time.process_time()
    fit(verbose=0, **passed)
    return time.process_time() - start


def _unchanged(x, labels):
    return x + 0.0, labels
