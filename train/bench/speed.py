"""`fit` and its train step against what a user would write by hand, on the same two cores."""

import time

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.bench import benchmark, data_checks, peers


def rows(turns: int = 40, steps: int = 100) -> benchmark.Rows:
    """2x256 ReLU, batch 100, Adam, values and gradients of Styblinski-Tang; same on all sides."""
    table = benchmark.styblinski_tang(100, seed=0)
    data = table.dataset(100)
    for label, inner in (("50 steps a call", 50), ("1 step a call", 1)):
        runs = _train_function(data, inner), by_hand(data, inner)
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
    yield from _fit_over_peers(table, turns, steps)
    yield from _small_arrays()
    yield from data_checks.rows(turns=max(turns // 8, 1), steps=20 * steps // 32 * 32)


def _fit_over_peers(table, turns, steps):
    """`fit` with 32 steps an execution, its start included, over loops of as many steps.

    With jit_compile=True, as JAX compiles its scan, and with Keras's default on CPUs.
    """
    calls = max(20 * steps // 32, 1)
    data, arrays = table.dataset(100), {"x": table.x, "y": table.labels, "batch_size": 100}
    fits = {
        "arrays, jit_compile=True": _fit(32, jit_compile=True, **arrays),
        "arrays, not compiled": _fit(32, **arrays),
        "a data set, jit_compile=True": _fit(32, jit_compile=True, x=data),
    }
    for run in fits.values():
        run(2 * calls)  # XLA compiles what is long enough to pay for it
    bars = {"JAX, jitted scan": "bar 1.05", "PyTorch, eager": "bar 0.5"}
    makers = {"TensorFlow by hand": lambda: by_hand(data, 32), **peers.loops(peers.BY_HAND, 32)}
    for name, make in makers.items():
        runs = *fits.values(), make()
        times = benchmark.seconds_in_turns(runs, calls, max(turns // 10, 1)) / 32
        yield f"fit, 32 steps an execution: ms a step, {name}", np.median(times[:, -1]) * 1e3
        bar = f" ({bars[name]})" if name in bars else ""
        for i, way in enumerate(fits):
            ratio = np.median(times[:, i] / times[:, -1])
            yield f"fit, {way}, 32 steps an execution: ratio to {name}{bar}", ratio


def _small_arrays(epochs: int = 100, turns: int = 5):
    """`fit` on 100 points as a newcomer writes it, over Keras's loop; and epochs of a length."""
    table = benchmark.styblinski_tang(100, seed=0)
    ways = {"nothing set": {}, "Keras's loop, steps_per_execution=1": {"steps_per_execution": 1}}
    models = [_sobolev_model(**settings) for settings in ways.values()]
    for size, bar in ((32, " (bar 5)"), (100, "")):
        passed = {"batch_size": size, "epochs": epochs, "verbose": 0}
        times = np.array([_seconds(m.fit, table, passed) for _ in range(turns + 1) for m in models])
        times = np.median(times.reshape(turns + 1, 2, 2)[1:], axis=0) / epochs * 1e3
        for name, (wall, processor) in zip(ways, times, strict=True):
            what = f"fit on 100 points, batches of {size}, {name}: ms an epoch"
            yield what + (bar if name == "nothing set" else ""), wall
            yield f"{what}, processor", processor
    model, settings = models[0], {"steps_per_epoch": 300, "batch_size": 100, "verbose": 0}
    for _ in range(2):
        wall, processor = _seconds(model.fit, table, settings)
    yield "fit on 100 points, steps_per_epoch: ms a step", wall / 300 * 1e3
    yield "fit on 100 points, steps_per_epoch: ms a step, processor", processor / 300 * 1e3
    yield from _xla_from_the_start()
    times = benchmark.seconds_in_turns([_fit(50, x=table.dataset(100))], 40, 3) / 50
    yield "fit on a repeated data set, 50 steps an execution: ms a step", np.median(times) * 1e3


def _xla_from_the_start(steps: int = 1600, turns: int = 3):
    """Processor seconds of a whole job, start included: Huge & Savine's net, with XLA and without.

    The first turn, in which TensorFlow itself starts, is left out.
    """
    x = np.random.default_rng(0).normal(size=[8192, 1]).astype("float32")
    table = st.targets.Table(x, np.maximum(x, 0), (x > 0).astype("float32"))
    passed = {"batch_size": 512, "steps_per_epoch": steps, "verbose": 0}
    seconds: list[float] = []
    for _ in range(2 * (turns + 1)):
        net = st.nets.mlp(1, hidden=[20] * 4, activation="softplus")
        model = st.SobolevModel(net)
        model.compile("adam", steps_per_execution=32, jit_compile=len(seconds) % 2 == 0)
        seconds.append(_seconds(model.fit, table, passed)[1])
    ours, plain = np.median(np.reshape(seconds, [-1, 2])[1:], axis=0)
    yield f"4x20 softplus, {steps} steps and the start: processor seconds, not compiled", plain
    yield "the same with jit_compile=True, over not compiled (bar 1.1)", ours / plain


def _seconds(fit, table, passed):
    """Seconds that a fit takes: by the clock, and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    fit(table.x, table.labels, **passed)
    return time.perf_counter() - wall, time.process_time() - processor


def _sobolev_model(**settings):
    keras.utils.set_random_seed(0)
    model = st.SobolevModel(st.nets.mlp(2))
    model.compile(keras.optimizers.Adam(3e-5), **settings)
    return model


def _fit(inner, jit_compile=False, **passed):
    """n -> one fit of n executions, each of `inner` steps."""
    model = _sobolev_model(steps_per_execution=inner, jit_compile=jit_compile)
    return lambda n: model.fit(**passed, steps_per_epoch=n * inner, verbose=0)


def _train_function(data, inner):
    """n -> n executions of the model's own train function."""
    return _executions(_sobolev_model(steps_per_execution=inner), data)


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
