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
    """Yield steps of one process, of two apart and of two workers, and what `events` predicts.

    All are taken in turns; numbers are medians over the rounds.
    """
    names = "whole", "alone", "beside", "slower", "two", "reduces", "joined"
    rounds_of = {name: [] for name in names}  # type: dict[str, list]
    for _ in range(rounds):
        rounds_of["whole"].append(np.median(_run(1, BATCH)[0]["steps"]))
        rounds_of["alone"].append(np.median(_run(1, BATCH // 2)[0]["steps"]))
        apart = [each["steps"] for each in _run(2, BATCH // 2, apart=True)]
        rounds_of["beside"].append(np.median(apart))
        rounds_of["slower"].append(np.median(np.max(apart, 0)))
        both = _run(2, BATCH // 2)
        rounds_of["two"].append(np.median([each["steps"] for each in both]))
        rounds_of["reduces"].append(both[0]["reduces"])
        rounds_of["joined"].append(sum(both[0]["bytes"]))
    whole, alone, beside, slower, two = (np.array(rounds_of[name]) for name in names[:5])
    reduces = np.array(rounds_of["reduces"])
    yield f"one process, {BATCH} images: steps a second", 1 / np.median(whole)
    yield f"one process, {BATCH // 2} images: steps a second", 1 / np.median(alone)
    yield f"two workers, {BATCH // 2} images each: steps a second", 1 / np.median(two)
    yield "gradient bytes of a step", rounds_of["joined"][0]
    yield "all-reduces of a step", len(reduces[0])
    yield "milliseconds of all of them", 1000 * np.median(reduces.sum(1))
    yield "a step of 16 beside another process over alone", np.median(beside / alone)
    yield "the slower of two steps beside each other over their median", np.median(slower / beside)
    for text, seconds in (("alone", alone), ("beside", beside), ("beside, the slower", slower)):
        predicted = [_predicted(*pair) for pair in zip(seconds, reduces, strict=True)]
        text = f"two workers: step over that of the events, steps of 16 taken {text}"
        yield text, np.median(two / predicted)


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


def _run(workers: int, batch: int, apart: bool = False) -> list[dict[str, Any]]:
    """Return what each of some workers has measured, with `batch` images each.

    Args:
      workers: how many, started at the same time.
      batch: images of each.
      apart: whether each is alone in its cluster.
    """
    addresses = tf_servers.free_addresses(workers)
    started = []
    try:
        for index in range(workers):
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
            environment |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
            task = {"type": "worker", "index": 0 if apart else index}
            cluster = {"worker": [addresses[index]] if apart else addresses}
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
    with strategy.scope():
        model = st.DecoupledModel(
            st.split(st.nets.cifar10(10, WIDTH, 32), at=["conv5_out"]), st.synthetic.cifar_critic
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", "sgd", loss, critic_updates="sync")
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=[batch, 32, 32, 3]), tf.float32)
    data = x, tf.constant(rng.integers(0, 10, batch))
    with strategy.scope():
        model._symbolic_build(data_batch=data)
    step = tf.function(lambda: strategy.run(model.train_step, args=(data,)))
    operations = step.get_concrete_function().graph.get_operations()
    sizes = [
        operation.inputs[0].shape.num_elements()
        for operation in operations
        if operation.type == "CollectiveReduceV2"
    ]
    times = {
        "steps": _seconds(step),
        "bytes": [4 * size for size in sizes],
        "reduces": [float(np.median(_seconds(_reduce(strategy, size)))) for size in sizes],
    }
    print(json.dumps(times), flush=True)
    os._exit(0)  # TensorFlow's server does not stop by itself


def _reduce(strategy: tf.distribute.Strategy, size: int) -> Any:
    """A call that sums a vector of so many numbers over all workers."""
    vector = tf.zeros([size])
    return tf.function(lambda: strategy.reduce("SUM", vector, axis=None))


def _seconds(call: Any) -> list[float]:
    """Return the times of calls, without the first ones."""
    taken = []
    for _ in range(STEPS + 3):
        start = time.perf_counter()
        tf.nest.map_structure(np.asarray, call())
        taken.append(time.perf_counter() - start)
    return taken[3:]


if __name__ == "__main__":
    main(int(sys.argv[1]))
