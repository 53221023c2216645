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

    @compiled(reduce_retracing=True)
    def loop(batches):
        # What a step returns, to start with: a first step outside would be compiled once more.
        shapes = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), batches)
        logs = single.get_concrete_function(shapes).structured_outputs
        logs = tf.nest.map_structure(lambda t: tf.zeros(t.shape, t.dtype), logs)

        def body(i, _):
            return i + 1, step(tf.nest.map_structure(lambda stacked: stacked[i], batches))

        return tf.while_loop(lambda i, _: i < steps, body, (0, logs))[1]

    @tf.function(reduce_retracing=True, autograph=False)
    def execute(iterator):
        first = iterator.get_next()
        rest = [iterator.get_next_as_optional() for _ in range(steps - 1)]

        def fused():
            batches = [first, *(batch.get_value() for batch in rest)]
            return loop(tf.nest.map_structure(lambda *parts: tf.stack(parts), *batches))

        def one_by_one():
            logs = single(first)
            for batch in rest:
                logs = tf.cond(
                    batch.has_value(),
                    lambda batch=batch: single(batch.get_value()),
                    lambda logs=logs: logs,
                )
            return logs

        return tf.cond(_alike(first, rest), fused, one_by_one)

    return lambda iterator: (execute if _holds_tensors(iterator) else otherwise)(iterator)


def _holds_tensors(iterator: Any) -> bool:
    return isinstance(iterator, tf.data.Iterator) and all(
        isinstance(spec, tf.TensorSpec) for spec in tf.nest.flatten(iterator.element_spec)
    )


def _alike(first: Any, rest: list) -> tf.Tensor:
    """Whether all batches are there, and of the first one's size."""
    size = tf.shape(tf.nest.flatten(first)[0])[0]
    alike = [
        tf.cond(
            batch.has_value(),
            lambda batch=batch: tf.shape(tf.nest.flatten(batch.get_value())[0])[0] == size,
            lambda: False,
        )
        for batch in rest
    ]
    return tf.reduce_all(alike)
