"""What a Sobolev step costs over a plain one, beside what its matrix products say it must."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.bench import benchmark

WIDTH, BATCH, INPUTS = 1024, 1024, 64
CONVOLUTIONS = {  # what is as large as a convolution's output, and its kernel
    "Conv2D": lambda op: (op.outputs[0], op.inputs[1]),
    "Conv2DBackpropInput": lambda op: (op.inputs[2], op.inputs[1]),
    "Conv2DBackpropFilter": lambda op: (op.inputs[2], op.outputs[0]),
}


def rows(turns: int = 5, calls: int = 4) -> benchmark.Rows:
    def cost(name, numerator, denominator, bar):
        models = numerator, denominator
        seconds = benchmark.seconds_in_turns(
            [benchmark.step_runner(*model) for model in models], calls, turns
        )
        counts = [products(*model) for model in models]
        yield f"{name}: seconds a step", np.median(seconds[:, 0])
        yield f"{name}: ratio of steps{bar}", np.median(seconds[:, 0] / seconds[:, 1])
        yield f"{name}: ratio of arithmetic counts", counts[0] / counts[1]

    plain = _plain(1), _batch(1, 0)
    first = _sobolev(1, order=1), _batch(1, 1)
    yield from cost("first order over plain, 4x1024", first, plain, " (bar 2.2)")
    second = _sobolev(1, order=2, projection="input", contraction="first"), _batch(1, 2)
    yield from cost(
        "order 2 as H v over plain, 4x1024", second, plain, " (bar 1.3 of its arithmetic count)"
    )
    yield from _output_projection(turns, calls)
    yield from _ways_along(turns, calls)
    yield from memory()


def _output_projection(turns, calls):
    """Projected steps with 1,000 outputs over 1, beside the same ratio of plain steps."""
    made = [
        make
        for outputs in (1000, 1)
        for make in (
            (_sobolev(outputs, order=1, projection="output"), (_batch(1, 0)[0],)),
            (_plain(outputs), _batch(outputs, 0)),
        )
    ]
    seconds = benchmark.seconds_in_turns(
        [benchmark.step_runner(model, data) for model, data in made], calls, turns
    )
    growth = np.median(seconds[:, 0] / seconds[:, 2]), np.median(seconds[:, 1] / seconds[:, 3])
    yield "1,000 outputs over 1: projected step", growth[0]
    yield "1,000 outputs over 1: plain step", growth[1]
    yield "1,000 outputs over 1: projected over plain growth (bar 1.2)", growth[0] / growth[1]


def _ways_along(turns, calls):
    """Gradient in the weights of |Df[v]|²: this library's way over forward mode, for P = 1, 4."""
    net, (x, _) = _net(1), _batch(1, 0)
    x = tf.constant(x)
    for count in (1, 4):
        v = tf.random.normal([BATCH, count, INPUTS], seed=0)

        def reverse(v=v):
            return st.directional_jet(net, x, [v]).derivatives[0]

        def forward(v=v):
            tangents = []
            for direction in tf.unstack(v, axis=1):
                with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
                    value = net(x)
                tangents.append(accumulator.jvp(value))
            return tf.stack(tangents, 1)

        seconds = benchmark.seconds_in_turns(
            [_descent(net, f) for f in (reverse, forward)], calls, turns
        )
        ratio = np.median(seconds[:, 0] / seconds[:, 1])
        yield f"derivatives along {count} direction(s): reverse twice over forward mode", ratio


def _descent(net, tangents):
    """n -> n gradients of the tangents' mean square in the weights."""

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tangents() ** 2)
        return tape.gradient(loss, net.trainable_variables[:-1])

    def run(n):
        for _ in range(n):
            step()

    return run


def memory(batch: int = 200) -> benchmark.Rows:
    """The largest tensor of a projected step on Atari frames over the full Jacobian's size."""
    layers = [
        keras.layers.Conv2D(16, 8, 4, activation="relu"),
        keras.layers.Conv2D(32, 4, 2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(256, activation="relu"),
        keras.layers.Dense(6),
    ]
    student = keras.Sequential([keras.Input([84, 84, 4]), *layers])
    teacher = st.targets.Teacher(keras.models.clone_model(student))
    model = st.SobolevModel(student, target=teacher, projection="output")
    model.compile("adam")
    graph = _graph(model, (np.zeros([batch, 84, 84, 4], "float32"),))
    sizes = [t.shape.num_elements() or 0 for op in _used(graph) for t in op.outputs if t.shape.rank]
    yield (
        "84x84x4, 6 outputs, batch 200: largest tensor over the Jacobian (bar < 1)",
        (max(sizes) / (batch * 6 * 84 * 84 * 4)),
    )


def products(model: keras.Model, data: Any) -> int:
    """Count floating-point operations of products and convolutions in a training step's graph."""
    total = 0
    for op in _used(_graph(model, data)):
        if op.type == "MatMul":
            (rows, columns), inner = op.outputs[0].shape, op.inputs[0].shape
            total += 2 * rows * columns * inner[0 if op.get_attr("transpose_a") else 1]
        elif op.type == "BatchMatMulV2":
            inner = op.inputs[0].shape[-2 if op.get_attr("adj_x") else -1]
            total += 2 * op.outputs[0].shape.num_elements() * inner
        elif op.type == "Einsum":
            total += 2 * _einsum_size(op)
        elif op.type in CONVOLUTIONS:
            image, kernel = CONVOLUTIONS[op.type](op)
            total += 2 * image.shape.num_elements() * kernel.shape[:3].num_elements()
    return total


def _einsum_size(op):
    """The product of all axes' sizes: how often two numbers are multiplied."""
    parts = op.get_attr("equation").decode().split("->")[0].split(",")
    if len(parts) < 2:  # a transpose or a sum
        return 0
    sizes: dict[str, int] = {}
    for part, tensor in zip(parts, op.inputs, strict=True):
        sizes |= dict(zip(part, tensor.shape, strict=True))
    return math.prod(sizes.values())


def _graph(model, data):
    data = tf.nest.map_structure(tf.constant, data)
    model.optimizer.build(model.trainable_variables)
    return tf.function(lambda: model.train_step(data)).get_concrete_function().graph


def _used(graph):
    """The operations that a run of the graph needs: TensorFlow prunes the others."""
    wanted = [t.op for t in graph.outputs] + list(graph.control_outputs)
    used = set()
    while wanted:
        op = wanted.pop()
        if op not in used:
            used.add(op)
            wanted += [t.op for t in op.inputs] + list(op.control_inputs)
    return used


def _net(outputs):
    keras.utils.set_random_seed(0)
    return st.nets.mlp(INPUTS, outputs, hidden=[WIDTH] * 4, activation="tanh")


def _plain(outputs):
    """Stock Keras."""
    model = _net(outputs)
    model.compile("adam", loss="mse")
    return model


def _sobolev(outputs, **kwargs):
    target = _linear(outputs) if kwargs.get("projection") == "output" else None
    model = st.SobolevModel(_net(outputs), target=target, **kwargs)
    model.compile("adam")
    return model


def _linear(outputs):
    """A live target whose own cost is small beside the net's."""
    slopes = tf.constant(np.random.default_rng(0).normal(size=[INPUTS, outputs]), tf.float32)
    return lambda x: x @ slopes


def _batch(outputs, order):
    rng = np.random.default_rng(0)
    x = rng.normal(size=[BATCH, INPUTS]).astype("float32")
    y = [rng.normal(size=[BATCH, outputs, *[INPUTS] * j]) for j in range(order + 1)]
    y = [a.astype("float32") for a in y]
    return (x, tuple(y)) if order else (x, y[0])
