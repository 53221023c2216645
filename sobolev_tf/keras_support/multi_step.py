"""Several steps in one program: the loop itself is compiled, not only its body.

Keras compiles a step and calls it `steps_per_execution` times, so small nets spend their time on
calls. Here the loop over batches is one program, as in a JAX scan. Arrays are on the device, and a
batch is taken by the numbers of its rows; batches of a data set are taken first.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from sobolev_tf.keras_support.array_batches import ArrayBatches


def over_arrays(step: Callable, jit_compile: bool, otherwise: Callable) -> Callable:
    """Make a Keras train or test function that also takes `ArrayBatches`.

    Its graph has the step once, however many steps a call takes.

    Args:
      step: batch -> logs.
      jit_compile: whether the loop may be an XLA program; the batches tell whether it is.
      otherwise: the function for other data.

    Returns:
      A function from `ArrayBatches`, or an iterator, to the last step's logs.
    """
    loops = {xla: _ArrayLoop(step, xla) for xla in (False, True)}

    def run(batches):
        if isinstance(batches, ArrayBatches):
            return batches.run(loops[bool(jit_compile and batches.xla)])
        return otherwise(batches)

    return run


class _ArrayLoop:
    """The loop of a step over arrays: batches, numbers of rows, steps -> the last step's logs."""

    def __init__(self, step: Callable, xla: bool) -> None:
        self._xla = xla
        self._compiled = functools.partial(tf.function, jit_compile=xla, autograph=False)
        self._step = self._compiled(step, reduce_retracing=True)
        self._programs: dict[Any, Callable] = {}

    def __call__(self, batches: ArrayBatches, numbers: np.ndarray, steps: int) -> Any:
        size = batches.size
        if not self._xla or batches.whole:
            return self._run(batches, size, batches.full, numbers, steps)
        # XLA compiles anew for each shape: full batches come in one array, padded.
        full = len(numbers) // size
        if full:
            padded = np.zeros(batches.most * size, np.int32)
            padded[: full * size] = numbers[: full * size]
            logs = self._run(batches, size, True, padded, full)
        if len(rest := numbers[full * size :]):
            logs = self._run(batches, len(rest), True, rest, 1)
        return logs

    def _run(self, batches, size, full, numbers, steps):
        key = *batches.key, size, full
        if (program := self._programs.get(key)) is None:
            program = self._programs[key] = self._program(batches.spec, batches.whole, size, full)
        tensors = tf.nest.flatten(batches.arrays)
        return program(tf.constant(numbers), tf.constant(steps), *tensors)

    def _program(self, spec, whole, size, full):
        """The loop over batches of `size` rows, from numbers of rows, steps and tensors."""

        def loop(numbers, steps, *tensors):
            def batch(i):
                if whole:
                    return tf.nest.pack_sequence_as(spec, tensors)
                rows = numbers[i * size : (i + 1) * size]
                if full:  # XLA needs its shape
                    rows = tf.slice(numbers, [i * size], [size])
                return tf.nest.pack_sequence_as(spec, [tf.gather(t, rows) for t in tensors])

            return _repeat(self._step, batch, steps)

        inputs = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)
        compiled = self._compiled(loop, input_signature=[*inputs, *tf.nest.flatten(spec)])
        return compiled.get_concrete_function()


def fuse_steps(step: Callable, steps: int, otherwise: Callable) -> Callable:
    """Make a Keras train function that runs several steps as one XLA program.

    Where the data ends early, or its batches differ in size, the batches that are left go one by
    one, through the same step compiled by itself.

    Args:
      step: batch -> logs.
      steps: how many steps one call takes.
      otherwise: the train function for what is not a tf.data iterator of tensors only:
        `train_on_batch`, labels that are None.

    Returns:
      A function from an iterator of batches to the last step's logs.
    """
    compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
    single = compiled(step, reduce_retracing=True)

    @compiled(reduce_retracing=True)
    def loop(batches):
        def batch(i):
            return tf.nest.map_structure(lambda stacked: stacked[i], batches)

        return _repeat(single, batch, steps)

    @tf.function(reduce_retracing=True, autograph=False)
    def execute(iterator):
        batches = _Batches(iterator, steps)

        def one_by_one():
            return _repeat(single, batches.read, batches.count)

        whole = batches.alike & (batches.count == steps)
        return tf.cond(whole, lambda: loop(batches.stack()), one_by_one)

    return lambda iterator: (execute if _holds_tensors(iterator) else otherwise)(iterator)


def _repeat(single, batch, steps):
    """Run a compiled step on batch(0), batch(1), ...; return the last logs."""
    shapes = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), batch(0))
    # What a step returns, to start with: a first step outside would be compiled once more.
    logs = single.get_concrete_function(shapes).structured_outputs
    logs = tf.nest.map_structure(lambda t: tf.zeros(t.shape, t.dtype), logs)

    def body(i, _):
        return i + 1, single(batch(i))

    return tf.while_loop(lambda i, _: i < steps, body, (0, logs))[1]


class _Batches:
    """The next batches of an iterator, taken in a loop: a graph that does not grow with them."""

    def __init__(self, iterator: Any, most: int) -> None:
        first = iterator.get_next()  # raises where there is none
        self._like, parts = first, tf.nest.flatten(first)
        size = tf.shape(parts[0])[0]
        stores = [
            tf.TensorArray(part.dtype, most, infer_shape=False).write(0, part) for part in parts
        ]

        def take(i, alike, more, stores):
            batch = iterator.get_next_as_optional()

            def keep():
                parts = tf.nest.flatten(batch.get_value())
                same = alike & (tf.shape(parts[0])[0] == size)
                written = [store.write(i, part) for store, part in zip(stores, parts, strict=True)]
                return i + 1, same, True, written

            return tf.cond(batch.has_value(), keep, lambda: (i, alike, False, stores))

        start = 1, True, True, stores
        self.count, self.alike, _, self._stores = tf.while_loop(
            lambda i, alike, more, stores: more & (i < most), take, start
        )
        self._most = most

    def read(self, i: Any) -> Any:
        """Return batch i."""
        return self._packed([store.read(i) for store in self._stores], leading=[])

    def stack(self) -> Any:
        """Return all batches, along a new first axis."""
        return self._packed([store.stack() for store in self._stores], leading=[self._most])

    def _packed(self, tensors, leading):
        for tensor, like in zip(tensors, tf.nest.flatten(self._like), strict=True):
            tensor.set_shape([*leading, *like.shape])
        return tf.nest.pack_sequence_as(self._like, tensors)


def _holds_tensors(iterator: Any) -> bool:
    return isinstance(iterator, tf.data.Iterator) and all(
        isinstance(spec, tf.TensorSpec) for spec in tf.nest.flatten(iterator.element_spec)
    )
