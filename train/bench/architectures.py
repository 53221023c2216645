"""What a Sobolev term costs on recurrent, attention and U-shaped nets, beside its arithmetic count.

One output projection an example, as in section 4.2: the net's gradient of <m, v>, and the gradient
of its error in the weights. Memory is what a few steps add to a process at their peak (Linux only).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.bench import benchmark, cost
from train.lib.run import processes

BATCH, BATCH_OF_MEMORY = 32, 512
STEPS, FEATURES = 16, 16  # of a series
TOKENS, WIDTH, HEADS = 32, 64, 4
SIDE, CHANNELS = 32, 16
UNITS = 128
WAYS = "plain", "sobolev", "plain, compiled by XLA", "sobolev, compiled by XLA"
NOT_COMPILED = "LSTM"  # XLA takes minutes for its unrolled steps


def lstm() -> keras.Model:
    """A series [B,T,F] to its next values [B,F], unrolled, so that its products are counted."""
    inputs = keras.Input([STEPS, FEATURES])
    h = keras.layers.LSTM(UNITS, return_sequences=True, unroll=True)(inputs)
    h = keras.layers.LSTM(UNITS, unroll=True)(h)
    return keras.Model(inputs, keras.layers.Dense(FEATURES)(h))


def transformer() -> keras.Model:
    """A series [B,T,D] to values [B,16]: two encoder blocks, attention without a fused kernel."""
    inputs = keras.Input([TOKENS, WIDTH])
    h = inputs
    for _ in range(2):
        attention = keras.layers.MultiHeadAttention(HEADS, WIDTH // HEADS, flash_attention=False)
        normal = keras.layers.LayerNormalization()(h)
        h = h + attention(normal, normal)
        hidden = keras.layers.Dense(4 * WIDTH, "gelu")(keras.layers.LayerNormalization()(h))
        h = h + keras.layers.Dense(WIDTH)(hidden)
    return keras.Model(inputs, keras.layers.Dense(16)(keras.layers.GlobalAveragePooling1D()(h)))


def unet() -> keras.Model:
    """An image [B,32,32,1] to an image [B,32,32,1]: two levels down and up."""

    def twice(h, channels):
        for _ in range(2):
            h = keras.layers.Conv2D(channels, 3, padding="same", activation="silu")(h)
        return h

    inputs = keras.Input([SIDE, SIDE, 1])
    down = [twice(inputs, CHANNELS)]
    for level in (2, 4):
        down.append(twice(keras.layers.AveragePooling2D(2)(down[-1]), level * CHANNELS))
    h = down.pop()
    for level in (2, 1):
        h = keras.layers.Conv2DTranspose(level * CHANNELS, 2, 2)(h)
        h = twice(keras.layers.Concatenate()([h, down.pop()]), level * CHANNELS)
    return keras.Model(inputs, keras.layers.Conv2D(1, 1)(h))


NETS: dict[str, Callable[[], keras.Model]] = {
    "LSTM": lstm,
    "Transformer encoder": transformer,
    "U-Net": unet,
}


def rows(turns: int = 5, calls: int = 3) -> benchmark.Rows:
    """Each net's Sobolev step over its plain step: time, arithmetic count, memory."""
    for name in NETS:
        ways = [way for way in WAYS if name != NOT_COMPILED or "XLA" not in way]
        made = {way: _model(name, way) for way in ways}
        seconds = benchmark.seconds_in_turns(
            [benchmark.step_runner(*each, "XLA" in way) for way, each in made.items()],
            calls,
            turns,
        )
        times = dict(zip(made, seconds.T, strict=True))
        ratio = np.median(times["sobolev"] / times["plain"])
        count = cost.products(*made["sobolev"]) / cost.products(*made["plain"])
        yield f"{name}: seconds of a plain step", np.median(times["plain"])
        yield f"{name}: Sobolev step over plain", ratio
        yield f"{name}: ratio of arithmetic counts", count
        yield f"{name}: ratio over that of counts (bar 1.15)", ratio / count
        if name != NOT_COMPILED:
            plain, compiled = (times[f"{way}, compiled by XLA"] for way in ("plain", "sobolev"))
            ratio = np.median(compiled / plain)
            yield f"{name}: both compiled by XLA, Sobolev step over plain", ratio
            ratio = np.median(compiled / times["sobolev"])
            yield f"{name}: Sobolev step, compiled by XLA over not", ratio
        for way in ("plain", "sobolev"):  # a process each: the peak of a process never falls
            for _, peak in processes.run(peak_megabytes, [(name, way)], 1):
                yield f"{name}: megabytes of {way} steps at batch {BATCH_OF_MEMORY}", peak


def peak_megabytes(task: tuple[str, str]) -> float:
    """Return how much memory three steps of a net add at their peak.

    Args:
      task: names of a net and of a way, see `NETS` and `WAYS`.
    """
    run = benchmark.step_runner(*_model(*task, BATCH_OF_MEMORY))
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of the start
    run(3)
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """Return a number of kilobytes from Linux's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _model(name: str, way: str, batch: int | None = None) -> tuple[keras.Model, Any]:
    """A compiled model and a batch of data."""
    keras.utils.set_random_seed(0)
    net = NETS[name]()
    random = np.random.default_rng(0)
    x = random.normal(size=[batch or BATCH, *net.input_shape[1:]]).astype("float32")
    y = random.normal(size=[batch or BATCH, *net.output_shape[1:]]).astype("float32")
    if way.startswith("plain"):
        net.compile("adam", "mse")
        return net, (x, y)
    model = st.SobolevModel(net, target=_Constant(y), projection="output")
    model.compile("adam")
    return model, (x,)


class _Constant:
    """A target whose jet costs nothing: the net's own work is what is measured."""

    def __init__(self, y):
        self.shape = y.shape[1:]

    def __call__(self, x):
        flat = tf.reshape(x, [tf.shape(x)[0], -1])
        total = tf.reduce_sum(flat, 1)
        return tf.reshape(total, [-1] + [1] * len(self.shape)) * tf.ones([1, *self.shape])
