"""Speed and accuracy of the core, each number a ratio or an error measured in one run.

    python -m train.bench                          # all suites, about two minutes on 2 cores
    python -m train.bench --suite=speed --workdir=runs/bench

Prints a table, and writes it to bench.json in --workdir. Expected: speed ratios at most 1.1,
gradient errors below 1e-6, the quick start's ratio of test errors at most 0.7.
"""

import statistics
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import flags

import sobolev_tf as st
from train.lib import cli, files, runs


def speed(rounds: int = 40, steps: int = 100):
    """Train step of SobolevModel over a hand-written nested-tape step: 2x256 ReLU, batch 100.

    Same net, Adam, data and number of steps on both sides, in many short turns, since others
    may use the machine: the median of the turns' ratios, and the ratio of the fastest turns.
    The train function with steps_per_execution=50 is held against a tf.function that loops 50
    steps, and with 1 against one that does one step. `fit` of 2,000 steps adds its start-up.
    """
    data = _styblinski_tang(100, seed=0).dataset(100)
    rows = []
    for label, inner, ours, turns, length in (
        ("50 steps a call", 50, _train_function, rounds, steps),
        ("1 step a call", 1, _train_function, rounds, steps),
        ("fit, 50 steps a call", 50, _fit, max(rounds // 10, 1), 20 * steps),
    ):
        runs = ours(data, inner), _hand_written(data, inner)
        calls = max(length // inner, 1)
        times = [[_seconds(run, calls) / (calls * inner) for run in runs] for _ in range(turns + 1)]
        times = np.array(times[1:])  # the first turn compiles
        median, fastest = np.median(times, 0) * 1e3, times.min(0) * 1e3
        rows += [
            (f"{label}: ms a step, SobolevModel", median[0]),
            (f"{label}: ms a step, by hand", median[1]),
            (f"{label}: ratio, median turn (bar 1.1)", np.median(times[:, 0] / times[:, 1])),
            (f"{label}: ratio, fastest turns", fastest[0] / fastest[1]),
        ]
    return rows


def gradients():
    """Relative error of `jet` against float64 central differences, dense and convolutional."""
    return [
        (f"input gradient, {name} net: relative error (bar 1e-6)", gradient_error(net, shape))
        for name, net, shape in (
            ("dense", dense_net(), (5, 3)),
            ("conv", conv_net(), (3, 6, 6, 2)),
        )
    ]


def quickstart(seeds=(0, 1, 2), steps: int = 2000):
    """Styblinski-Tang, 100 points: test RMSE with derivatives over without, same steps."""
    rmse = [(_test_rmse(seed, 1, steps), _test_rmse(seed, 0, steps)) for seed in seeds]
    return [
        ("quick start: test RMSE, SobolevModel", statistics.median(a for a, _ in rmse)),
        ("quick start: test RMSE, values only", statistics.median(b for _, b in rmse)),
        (
            "quick start: ratio, median of seeds (bar 0.7)",
            statistics.median(a / b for a, b in rmse),
        ),
    ]


SUITES = {"speed": speed, "gradients": gradients, "quickstart": quickstart}


def styblinski_tang(x):
    """0.5 sum(x⁴ - 16x² + 5x), [B,2] -> [B,1]: section 4.1."""
    return 0.5 * tf.reduce_sum(x**4 - 16 * x**2 + 5 * x, axis=1, keepdims=True)


def dense_net():
    return keras.Sequential(
        [
            keras.Input([3], dtype="float64"),
            keras.layers.Dense(16, activation="tanh", dtype="float64"),
            keras.layers.Dense(4, dtype="float64"),
        ]
    )


def conv_net():
    return keras.Sequential(
        [
            keras.Input([6, 6, 2], dtype="float64"),
            keras.layers.Conv2D(4, 3, activation="softplus", dtype="float64"),
            keras.layers.Conv2D(3, 3, strides=2, activation="tanh", dtype="float64"),
            keras.layers.Flatten(dtype="float64"),
            keras.layers.Dense(2, dtype="float64"),
        ]
    )


def gradient_error(net, shape, step=1e-5):
    """|jet - differences| / |differences| over all entries, at a random x of `shape`."""
    x = np.random.default_rng(0).normal(size=shape)
    derivative = st.jet(net, x).derivatives[0].numpy()
    flat = derivative.reshape(*derivative.shape[:2], -1)
    differences = np.empty_like(flat)
    for i in range(flat.shape[-1]):
        e = np.zeros(flat.shape[-1])
        e[i] = step
        e = e.reshape(shape[1:])
        differences[:, :, i] = (net(x + e).numpy() - net(x - e).numpy()) / (2 * step)
    return float(np.linalg.norm(flat - differences) / np.linalg.norm(differences))


def _styblinski_tang(points, seed):
    x = np.random.default_rng(seed).uniform(-5, 5, [points, 2]).astype("float32")
    return st.targets.Table(x, *st.targets.tabulate(styblinski_tang, x))


def _sobolev_model(inner):
    keras.utils.set_random_seed(0)
    model = st.SobolevModel(st.nets.mlp(2))
    model.compile(keras.optimizers.Adam(3e-5), steps_per_execution=inner)
    return model


def _fit(data, inner):
    """n -> one fit of n executions, each of `inner` steps."""
    model = _sobolev_model(inner)
    return lambda n: model.fit(data, steps_per_epoch=n * inner, verbose=0)


def _train_function(data, inner):
    """n -> n executions of the model's own train function."""
    model = _sobolev_model(inner)
    model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    iterator = iter(data)

    def run(n):
        for _ in range(n):
            model.train_function(iterator)

    return run


def _hand_written(data, inner):
    """The same, as a user of TensorFlow would write it."""
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


def _test_rmse(seed, order, steps):
    """The README's recipe; order 0 is the same with values alone."""
    keras.utils.set_random_seed(seed)
    table, test = _styblinski_tang(100, seed), _styblinski_tang(10_000, seed + 1000)
    model = st.SobolevModel(st.nets.mlp(2, activation="silu"), order=order)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate), steps_per_execution=100)
    data = st.targets.Table(table.x, *table.labels[: order + 1]).dataset(100)
    model.fit(data, steps_per_epoch=steps, verbose=0)
    error = model.predict(test.x, verbose=0, batch_size=1000) - test.labels[0]
    return float(np.sqrt(np.mean(error**2)))


def _seconds(run, calls):
    start = time.perf_counter()
    run(calls)
    return time.perf_counter() - start


FLAGS = flags.FlagValues()
flags.DEFINE_enum("suite", "all", ["all", *SUITES], "What to measure.", flag_values=FLAGS)
flags.DEFINE_string("workdir", None, "Folder to write bench.json to.", flag_values=FLAGS)


def main():
    if FLAGS.workdir:
        runs.make_folder(Path(FLAGS.workdir))
    chosen = SUITES if FLAGS.suite == "all" else {FLAGS.suite: SUITES[FLAGS.suite]}
    rows = []
    for suite in chosen.values():
        for name, number in suite():
            print(f"{number:12.4g}  {name}", flush=True)
            rows.append({"name": name, "number": float(number)})
    if FLAGS.workdir:
        facts = {"commit": runs.git_commit(), "versions": runs.versions()}
        files.write_json(Path(FLAGS.workdir, "bench.json"), facts | {"rows": rows})


if __name__ == "__main__":
    cli.run(main, FLAGS)
