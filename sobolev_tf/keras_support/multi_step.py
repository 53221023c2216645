"""Several training steps in one XLA program: the loop itself is compiled, not only its body.

Keras compiles a step and calls it `steps_per_execution` times, so small nets spend their time on
calls. Here the batches are taken first, and the loop over them is one program, as in a JAX scan.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


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

    def no_logs(batch):
        """What a step returns, to start with: a first step outside would be compiled once more."""
        shapes = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), batch)
        logs = single.get_concrete_function(shapes).structured_outputs
        return tf.nest.map_structure(lambda t: tf.zeros(t.shape, t.dtype), logs)

    @compiled(reduce_retracing=True)
    def loop(batches):
        def batch(i):
            return tf.nest.map_structure(lambda stacked: stacked[i], batches)

        def body(i, _):
            return i + 1, step(batch(i))

        return tf.while_loop(lambda i, _: i < steps, body, (0, no_logs(batch(0))))[1]

    @tf.function(reduce_retracing=True, autograph=False)
    def execute(iterator):
        batches = _Batches(iterator, steps)

        def one_by_one():
            def body(i, _):
                return i + 1, single(batches.read(i))

            start = 0, no_logs(batches.read(0))
            return tf.while_loop(lambda i, _: i < batches.count, body, start)[1]

        whole = batches.alike & (batches.count == steps)
        return tf.cond(whole, lambda: loop(batches.stack()), one_by_one)

    return lambda iterator: (execute if _holds_tensors(iterator) else otherwise)(iterator)


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
