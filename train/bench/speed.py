"""`fit` and its train step against what a user would write by hand, on the same two cores."""

import time

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.bench import benchmark, looking, peers


def rows(turns: int = 40, steps: int = 100) -> benchmark.Rows:
    """2x256 ReLU, batch 100, Adam, values and gradients of Styblinski-Tang; same on all sides."""
    data = benchmark.styblinski_tang(100, seed=0).dataset(100)
    for label, inner, ours in (
        ("50 steps a call", 50, _train_function),
        ("1 step a call", 1, _train_function),
    ):
        runs = ours(data, inner), by_hand(data, inner)
        calls = max(steps // inner, 1)
        times = benchmark.seconds_in_turns(runs, calls, turns) / inner
        yield f"{label}: ms a step, SobolevModel", np.median(times[:, 0]) * 1e3
        yield f"{label}: ms a step, TensorFlow by hand", np.median(times[:, 1]) * 1e3
        ratio = np.median(times[:, 0] / times[:, 1])
        yield f"{label}: ratio to TensorFlow by hand (bar 1.1)", ratio
        yield f"{label}: the same of the fastest turns", times[:, 0].min() / times[:, 1].min()
    runs = _train_function(data, 1), _stock(data)
    times = benchmark.seconds_in_turns(runs, steps, turns)
    yield (
        "1 step a call: ratio to a stock Keras step with the gradient as an output",
        np.median(times[:, 0] / times[:, 1]),
    )
    yield from _fit_over_peers(data, turns, steps)
    yield from _small_arrays()
    yield from looking.rows(turns=max(turns // 8, 1), steps=20 * steps // 32 * 32)


def _fit_over_peers(data, turns, steps):
    """`fit` with 32 steps an execution, its start included, over loops of as many steps.

    With jit_compile=True, as JAX compiles its scan, and with Keras's default on CPUs.
    """
    calls = max(20 * steps // 32, 1)
    bars = {"JAX, jitted scan": "bar 1.0", "PyTorch, eager": "bar 0.5"}
    makers = {"TensorFlow by hand": lambda: by_hand(data, 32), **peers.loops(peers.BY_HAND, 32)}
    for name, make in makers.items():
        runs = _fit(data, 32, jit_compile=True), _fit(data, 32), make()
        times = benchmark.seconds_in_turns(runs, calls, max(turns // 10, 1)) / 32
        yield f"fit, 32 steps an execution: ms a step, {name}", np.median(times[:, 2]) * 1e3
        bar = f" ({bars[name]})" if name in bars else ""
        for way, ours in (("jit_compile=True", times[:, 0]), ("not compiled", times[:, 1])):
            ratio = np.median(ours / times[:, 2])
            yield f"fit, {way}, 32 steps an execution: ratio to {name}{bar}", ratio


def _small_arrays(epochs: int = 30):
    """Milliseconds a step of `fit` on 100 points: one step an epoch, and epochs of a length."""
    table = benchmark.styblinski_tang(100, seed=0)
    model = _sobolev_model(1)
    ways = {
        "nothing set": {"epochs": epochs, "batch_size": 100},
        "steps_per_epoch": {"steps_per_epoch": epochs * 10, "batch_size": 100},
    }
    for name, settings in ways.items():
        model.fit(table.x, table.labels, verbose=0, **settings | {"epochs": 1})
        start = time.perf_counter()
        model.fit(table.x, table.labels, verbose=0, **settings)
        count = settings.get("steps_per_epoch", epochs)
        yield f"fit on 100 points, {name}: ms a step", (time.perf_counter() - start) / count * 1e3
    times = benchmark.seconds_in_turns([_fit(table.dataset(100), 50)], 40, 3) / 50
    yield "fit on a repeated data set, 50 steps an execution: ms a step", np.median(times) * 1e3


def _sobolev_model(inner, **settings):
    keras.utils.set_random_seed(0)
    model = st.SobolevModel(st.nets.mlp(2))
    model.compile(keras.optimizers.Adam(3e-5), steps_per_execution=inner, **settings)
    return model


def _fit(data, inner, **settings):
    """n -> one fit of n executions, each of `inner` steps."""
    model = _sobolev_model(inner, **settings)
    return lambda n: model.fit(data, steps_per_epoch=n * inner, verbose=0)


def _train_function(data, inner):
    """n -> n executions of the model's own train function."""
    return _executions(_sobolev_model(inner), data)


def _stock(data):
    """The same for a stock Keras model that gives value and gradient as two outputs."""
    keras.utils.set_random_seed(0)
    net = st.nets.mlp(2)

    class WithGradient(keras.Model):
        def __init__(self):
            super().__init__()
            self.net = net

        def call(self, x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = self.net(x)
            return value, tape.gradient(value, x)

    model = WithGradient()
    model.compile(keras.optimizers.Adam(3e-5), loss=["mse", "mse"])
    pairs = data.map(lambda x, labels: (x, (labels[0], labels[1][:, 0])))
    model(next(iter(pairs))[0])
    return _executions(model, pairs)


def _executions(model, data):
    model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    iterator = iter(data)

    def run(n):
        for _ in range(n):
            model.train_function(iterator)

    return run


def by_hand(data: tf.data.Dataset, inner: int) -> benchmark.Loop:
    """Train by nested tapes in a tf.function, as a user of TensorFlow would write them."""
    keras.utils.set_random_seed(0)
    net, optimizer = st.nets.mlp(2), keras.optimizers.Adam(3e-5)
    optimizer.build(net.trainable_variables)

    @tf.function
    def steps(iterator):
        for _ in tf.range(inner):
            x, (y, dy) = next(iterator)
            with tf.GradientTape() as outer:
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    value = net(x, training=True)
                gradient = tape.gradient(value, x)
                loss = tf.reduce_mean(tf.reduce_sum((value - y) ** 2, 1))
                loss += tf.reduce_mean(tf.reduce_sum((gradient - dy[:, 0]) ** 2, 1))
            gradients = outer.gradient(loss, net.trainable_variables)
            optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))

    iterator = iter(data)

    def run(n):
        for _ in range(n):
            steps(iterator)

    return run
