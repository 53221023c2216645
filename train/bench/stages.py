"""Stages on two single-core workers: decoupled steps against model-parallel backpropagation.

Both are the same code with the same placement, several steps in one tf.function, every gradient
operation on its stage's device; they differ in what a stage waits for. "Critic frozen" uses
synthetic gradients and does not train the critic; with both stages on one worker, all the work is
done there, which measures how much work there is.
"""

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.synthetic import placement
from train.bench import benchmark
from train.lib.run import processes, tf_servers

SIDE, CHANNELS, BATCH, UNROLLED = 16, 64, 32, 16
BARS = {"critic frozen": 1.5, "sobolev": 1.3}


def rows(turns: int = 5, calls: int = 1) -> benchmark.Rows:
    # In a process of its own: a process connects to one cluster in its life.
    for _, measured in processes.run(_measure, [(turns, calls, SIDE, CHANNELS, BATCH)], 1):
        yield from measured


def _measure(settings):
    turns, calls, *sizes = settings
    with tf_servers.local(pin=True, worker=2) as cluster:
        tf_servers.wait(cluster, seconds=120)
        tf.config.experimental_connect_to_cluster(tf.train.ClusterSpec(cluster))
        first = placement.devices("stages", 2)[0]
        runs = {name: _runner(name, "stages", *sizes) for name in ("backprop", *BARS)}
        alone = {name: _runner(name, [first, first], *sizes) for name in ("backprop", *BARS)}
        loops = [*runs.values(), *alone.values()]
        seconds = benchmark.seconds_in_turns(loops, calls, turns)
    names = [*runs, *(f"{name}, one worker" for name in alone)]
    times = dict(zip(names, seconds.T / UNROLLED, strict=True))
    rows = [
        (f"stages, ms a step: {name}", 1e3 * np.median(seconds)) for name, seconds in times.items()
    ]
    for name, bar in BARS.items():
        ratio = np.median(times["backprop"] / times[name])
        rows.append((f"stages: model-parallel backprop over {name} (bar {bar})", ratio))
        busy = np.median(times[f"{name}, one worker"] / times[name]) / 2
        rows.append((f"stages: {name}, share of two workers' time that is work", busy))
    return rows


def _runner(name, placement, side, channels, batch):
    """n -> n executions of UNROLLED steps on one batch, through the model's train function."""
    model = _model(name, placement, side, channels)
    rng = np.random.default_rng(0)
    batch = rng.normal(size=[batch, side, side, 3]).astype("float32"), rng.integers(0, 10, batch)
    data = iter(tf.data.Dataset.from_tensors(batch).repeat())
    model.make_train_function()

    def run(n):
        for _ in range(n):
            logs = model.train_function(data)
        logs["loss"].numpy()  # which waits for the steps

    return run


def _model(name, placement, side, channels):
    """Two stages of three full convolutions each, and a critic of a tenth of a stage's cost."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input([side, side, 3])
    for k in range(7):
        x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"conv{k}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    stages = st.split(keras.Model(inputs, keras.layers.Dense(10)(x)), at=["conv3"])
    critic = keras.Sequential(
        [
            keras.Input(stages[0].output_shape[1:]),
            keras.layers.Conv2D(channels // 2, 3, strides=2, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )
    critic.trainable = name != "critic frozen"
    method = "backprop" if name == "backprop" else "sobolev"
    model = st.DecoupledModel(stages, [critic], method, placement=placement)
    model.compile(
        optimizer=keras.optimizers.SGD(0.01, momentum=0.9),
        critic_optimizer=keras.optimizers.Adam(1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=UNROLLED,
    )
    return model
