"""Full derivatives by the shorter side: a pass for each output, or one along each input.

All shapes are those of `jets`: y [B,*out] has K entries a row, x [B,*in] has D.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from sobolev_tf.jets.contractions import reshape_static
from sobolev_tf.jets.detached import has_detached_part

UNROLLED = (
    32  # passes that a graph holds one by one, which a small net runs faster; more are a loop
)
_unroll_all = contextvars.ContextVar("unroll_all", default=False)


@contextlib.contextmanager
def no_loops() -> Iterator[None]:
    """Take all passes one by one: `tf.vectorized_map` does not take loops that are differentiated.

    Example:

    >>> with no_loops():
    ...     tf.vectorized_map(lambda x: x**2, tf.constant([3.0])).numpy().tolist()
    [9.0]
    """
    token = _unroll_all.set(True)
    try:
        yield
    finally:
        _unroll_all.reset(token)


def derivatives(
    tapes: Sequence[tf.GradientTape], y: tf.Tensor, x: tf.Tensor, required: bool = True
) -> list[tf.Tensor]:
    """Compute D y, ..., D^J y; the first in min(K, D + 1) passes.

    A row of D y, of one output, is a reverse pass. A column, along one input, is a pass through
    the gradient of <y, u>, which is linear in u; that gradient is the one pass more. Higher
    derivatives are those of each row or column, within its pass. In a graph, more than `UNROLLED`
    passes are a loop: the graph does not grow with K and D, and no loop is differentiated again.

    Args:
      tapes: J of them, persistent and recording; they watched x while y was computed.
      y: [B,*out].
      x: [B,*in].
      required: whether it is an error that y does not depend on x.

    Returns:
      D^j y [B,*out,*in × j], zero where y does not depend on x.

    Raises:
      ValueError: *out is not known, or y does not depend on x.

    Example:

    >>> x = tf.constant([[2.0]])
    >>> with tf.GradientTape(persistent=True) as tape:
    ...     tape.watch(x)
    ...     y = x ** [[1.0, 2.0, 3.0]]
    ...     [slopes] = derivatives([tape], y, x)
    >>> slopes.numpy().tolist()
    [[[1.0], [4.0], [12.0]]]
    """
    if not tapes:
        return []
    outputs, inputs = y.shape[1:].num_elements(), x.shape[1:].num_elements()
    if outputs is None:
        raise ValueError(
            f"fn returned shape {y.shape}: every axis but the batch must be known to take "
            "full derivatives. Set the input shape, or use a projection."
        )
    if not outputs:
        connected([], x, required)
    tape, *higher = tapes
    with tape.stop_recording():
        terms = _by_columns(tape, higher, y, x) if _has_short_rows(outputs, inputs) else None
        terms = terms or _by_rows(tape, higher, y, x, required)
    return [
        reshape_static(
            term,
            [*y.shape, *list(x.shape[1:]) * j],
            tf.shape(y),
            *[tf.shape(x)[1:]] * j,
        )
        for j, term in enumerate(terms, 1)
    ]


def connected(
    gradients: Sequence[tf.Tensor | None], like: tf.Tensor, required: bool = True
) -> list[tf.Tensor]:
    """Return gradients with None read as zero.

    Args:
      gradients: as a tape gives them.
      like: what zeros are made like.
      required: whether it is an error that all are None.

    Raises:
      ValueError: all are None, and required.

    Example:

    >>> connected([None, tf.ones([2])], tf.ones([2]))[0].numpy().tolist()
    [0.0, 0.0]
    """
    if required and all(g is None for g in gradients):
        raise ValueError(
            "no output depends on x: there is no gradient path from the output back to the "
            "input (look for a constant, stop_gradient, argmax, rounding, a cast to integers)."
        )
    zeros = tf.zeros_like(like)
    return [zeros if g is None else tf.convert_to_tensor(g) for g in gradients]


def _has_short_rows(outputs, inputs):
    """Whether columns are fewer than rows, the pass for their gradient counted in."""
    return inputs and outputs > inputs + 1


def _passes(outputs, inputs, order):
    """The number of passes for D^order, but those for the gradients of columns."""
    if not order:
        return 1
    if _has_short_rows(outputs, inputs):
        return inputs * _passes(outputs, inputs, order - 1)
    return outputs * _passes(inputs or 1, inputs, order - 1)


def _by_rows(tape, higher, y, x, required):
    """D^j y [B,K,*in × j], by a reverse pass for each output."""

    def row(u):
        [gradient] = connected([tape.gradient(y, x, output_gradients=u)], x, required)
        return [gradient, *derivatives(higher, gradient, x, required=False)]

    if y.shape[1:].num_elements() == 1:
        return [tf.stack([term], 1) for term in row(None)]
    return _at_units(row, y, y, x, 1 + len(higher), axis=1)


def _by_columns(tape, higher, y, x):
    """D^j y [B,*out,D,...], by a pass along each input; None where rows have to be taken.

    That is so where a gradient is not differentiable itself: TensorFlow's own of some operations,
    or a `tf.custom_gradient` that is computed by NumPy.
    """
    u = tf.ones_like(y)
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as over_u:
        over_u.watch(u)
        gradient = tape.gradient(y, x, output_gradients=u)
        gradient = None if gradient is None else tf.convert_to_tensor(gradient)
    if gradient is None:
        return None
    if tf.is_symbolic_tensor(gradient) and has_detached_part(gradient, u):
        return None

    def column(v):
        tangent = over_u.gradient(gradient, u, output_gradients=v)
        if tangent is None:
            raise LookupError("the gradient does not depend on u")
        tangent = tf.cast(tangent, x.dtype)
        return [tangent, *derivatives(higher, tangent, x, required=False)]

    try:
        terms = _at_units(column, x, y, x, 1 + len(higher), axis=y.shape.rank)
    except LookupError:  # TensorFlow's, too, for an operation without gradient
        return None
    return terms if tf.is_symbolic_tensor(gradient) or _add_up(terms[0], gradient) else None


def _add_up(columns, gradient):
    """Whether columns [B,*out,D] add up to the gradient [B,*in] of <y, 1>.

    The tolerance is wide; a false alarm costs time only.
    """
    total, scale = (
        tf.reduce_sum(t, range(1, t.shape.rank - 1)) for t in (columns, tf.abs(columns))
    )
    error = tf.abs(tf.reshape(gradient, total.shape) - total)
    return bool(tf.reduce_all(error <= 1e-2 * scale))


def _at_units(
    linear: Callable, like: tf.Tensor, y: tf.Tensor, x: tf.Tensor, order: int, axis: int
) -> list[tf.Tensor]:
    """Stack what `linear` gives, D y to D^order y, at each unit vector of like [B,*dims]."""
    size, outputs, inputs = (t.shape[1:].num_elements() for t in (like, y, x))

    def at(i):
        unit = tf.reshape(tf.one_hot(i, size, dtype=like.dtype), like.shape[1:])
        return linear(tf.broadcast_to(unit, tf.shape(like)))

    few = _passes(outputs, inputs, order) <= UNROLLED
    if few or _unroll_all.get() or tf.executing_eagerly():  # eager loops run one by one anyway
        return [tf.stack(terms, axis) for terms in zip(*map(at, range(size)), strict=True)]
    stacked = tf.map_fn(at, tf.range(size), fn_output_signature=[x.dtype] * order)
    return [_move_first(term, axis) for term in stacked]


def _move_first(t, axis):
    """Move the first axis."""
    axes = list(range(1, t.shape.rank))
    return tf.transpose(t, [*axes[:axis], 0, *axes[axis:]])
