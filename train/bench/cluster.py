"""Two workers on loopback against one process, and what the formulas of `scaling` say of both.

The net is train.cifar10's at an eighth of the width, with one cut. Each process has one thread, so
that two workers have no more of the machine than they would have apart.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.bench import benchmark, decoupled, events, scaling
from train.lib.run import tf_servers

BATCH, WIDTH, STEPS = 32, 0.125, 20
RATE = 909  # images a second of backpropagation on an A100: see imagenet.ACCELERATORS
RATIO = 1.31  # a step of sobolev with 3 cuts over backpropagation's: train/bench/README.md
IMAGES = 32  # of each accelerator in a step, as in the paper
COUNTS = (8, 34, 256)


def rows() -> benchmark.Rows:
    """Compute ResNet50 with three cuts on accelerators, and measure two workers here."""
    yield from computed()
    yield from measured()


def measured(rounds: int = 3) -> benchmark.Rows:
    """Yield steps of one process and of two workers, and what `events` predicts, in some rounds.

    Two workers take a step of their own before each common step: both beside each other, too.
    """
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        [whole], [alone], both = _run(1, BATCH), _run(1, BATCH // 2), _run(2, BATCH // 2)
        beside = np.median([each["own"] for each in both])
        slower = np.median(np.max([each["own"] for each in both], 0))
        two = np.median([each["steps"] for each in both])
        reduces = both[0]["reduces"]
        alone_seconds = np.median(alone["own"])
        numbers = {
            f"one process, {BATCH} images: steps a second": 1 / np.median(whole["own"]),
            f"one process, {BATCH // 2} images: steps a second": 1 / alone_seconds,
            f"two workers, {BATCH // 2} images each: steps a second": 1 / two,
            "gradient bytes of a step": sum(both[0]["bytes"]),
            "all-reduces of a step": len(reduces),
            "milliseconds of all of them": 1000 * sum(reduces),
            "a worker's own step beside the other's, over alone": beside / alone_seconds,
            "the slower of two own steps over their median": slower / beside,
        }
        ways = {"alone": alone_seconds, "beside": beside, "beside, the slower": slower}
        for way, seconds in ways.items():
            text = f"common step over that of the events, own steps taken {way}"
            numbers[text] = two / _predicted(seconds, reduces)
        for name, number in numbers.items():
            found.setdefault(name, []).append(float(number))
    yield from ((name, float(np.median(of_rounds))) for name, of_rounds in found.items())


def _predicted(seconds: float, reduces: Sequence[float]) -> float:
    """A step of two workers whose all-reduces follow its end one after another."""
    ends = dict(enumerate(reduces))
    return events.step(2, [seconds, *[0.0] * (len(ends) - 1)], ends, overlap=False)


def computed() -> benchmark.Rows:
    """Yield the share of the time that accelerators compute, from measured steps and bytes."""
    model = decoupled.model("sobolev", 224, 3, 1000, "true")
    net = num_bytes(stage.trainable_variables for stage in model.stages)
    critics = num_bytes(critic.trainable_variables for critic in model.critics)
    yield "ResNet50: bytes of gradients", net
    yield "its three critics: bytes of gradients", critics
    step = scaling.Step(RATIO * IMAGES / RATE, net, critics)
    yield f"milliseconds of a step of {IMAGES} images on an A100", 1000 * step.seconds
    largest = max(np.prod(stage.output_shape[1:]) for stage in model.stages[:-1])
    for name, (bandwidth, latency) in scaling.NETWORKS.items():
        for count in COUNTS:
            ways = {
                "sync": scaling.synchronous(step, count, bandwidth, latency),
                "sequential_async": scaling.sequential(step, count, bandwidth, latency),
                "parameter server": scaling.parameter_server(step, count, bandwidth),
            }
            for way, seconds in ways.items():
                share = scaling.efficiency(step, seconds)
                yield f"{count} A100, {name}, {way}: percent computing", 100 * share
        size = 4 * IMAGES * float(largest)
        seconds = scaling.stages(step, 4, size, bandwidth, latency)
        yield f"4 A100, {name}, a stage each: percent computing", 100 * step.seconds / 4 / seconds


def num_bytes(groups: Any) -> int:
    """Count the bytes of float32 gradients of some lists of variables."""
    return 4 * sum(int(np.prod(variable.shape)) for group in groups for variable in group)


def _run(workers: int, batch: int) -> list[dict[str, Any]]:
    """Return what each of some workers has measured, with `batch` images each."""
    addresses = tf_servers.free_addresses(workers)
    started = []
    try:
        for index in range(workers):
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
            environment |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
            task = {"type": "worker", "index": index}
            cluster = {"worker": addresses}
            environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
            command = [sys.executable, "-m", "train.bench.cluster", str(batch)]
            started.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            )
        return [json.loads(p.communicate(timeout=600)[0].splitlines()[-1]) for p in started]
    finally:
        for process in started:
            process.kill()
            process.wait()


def main(batch: int) -> None:
    """Take steps as a worker of TF_CONFIG, and print how long they took."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=[batch, 32, 32, 3]), tf.float32)
    data = x, tf.constant(rng.integers(0, 10, batch))
    own = _model(data)
    with strategy.scope():
        model = _model(data)
    own_step = tf.function(lambda: own.train_step(data))
    step = tf.function(lambda: strategy.run(model.train_step, args=(data,)))
    operations = step.get_concrete_function().graph.get_operations()
    sizes = [
        operation.inputs[0].shape.num_elements()
        for operation in operations
        if operation.type == "CollectiveReduceV2"
    ]
    taken = np.transpose([[_seconds(own_step), _seconds(step)] for _ in range(STEPS + 3)])
    times = {
        "own": taken[0, 3:].tolist(),
        "steps": taken[1, 3:].tolist(),
        "bytes": [4 * size for size in sizes],
        "reduces": [_median_seconds(_reduce(strategy, size)) for size in sizes],
    }
    print(json.dumps(times), flush=True)
    os._exit(0)  # TensorFlow's server does not stop by itself


def _reduce(strategy: tf.distribute.Strategy, size: int) -> Any:
    """A call that sums a vector of so many numbers over all workers."""
    vector = tf.zeros([size])
    return tf.function(lambda: strategy.reduce("SUM", vector, axis=None))


def _model(data: Any) -> st.DecoupledModel:
    """The model of a batch, built."""
    net = st.nets.cifar10(10, WIDTH, 32)
    model = st.DecoupledModel(st.split(net, at=["conv5_out"]), st.synthetic.cifar_critic)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", "sgd", loss, critic_updates="sync")
    model._symbolic_build(data_batch=data)
    return model


def _median_seconds(call: Any) -> float:
    """Return the median time of a call, without the first ones."""
    return float(np.median([_seconds(call) for _ in range(STEPS + 3)][3:]))


def _seconds(call: Any) -> float:
    start = time.perf_counter()
    tf.nest.map_structure(np.asarray, call())
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]))
