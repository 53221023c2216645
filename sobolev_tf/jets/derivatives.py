"""Jets: a function's value and derivatives at a point, in full or along directions.

Shapes: x [B,*in], f(x) [B,*out], D^j f(x) [B,*out,*in × j]. Directions have P projections per
example: [B,P,*out] on the outputs, [B,P,*in] on the inputs.

All functions here map x row by row. A layer that couples the rows of a batch (BatchNormalization
in training mode) adds the other rows' share to a derivative. Nothing is gradient-stopped: a tape
around the call sees the weights. A part of f without a gradient (`stop_gradient`, rounding,
`tf.numpy_function`) counts as a constant; in traced functions the last is warned of. Each raises
`ValueError` where x is not floating, or no output depends on x.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf
from numpy.typing import ArrayLike

from sobolev_tf import require
from sobolev_tf.jets import arguments
from sobolev_tf.jets.arguments import as_differentiable
from sobolev_tf.jets.contractions import contract_outputs
from sobolev_tf.jets.jacobians import connected, derivatives


class Jet(NamedTuple):
    """A function's value [B,*out] and its derivatives (D^1, ..., D^J), D^j [B,*out,*in × j]."""

    value: tf.Tensor
    derivatives: tuple = ()


def at_least_float32(t: tf.Tensor) -> tf.Tensor:
    """Cast half precision to float32: sums and comparisons need the digits.

    >>> at_least_float32(tf.constant([1.0], tf.float16)).dtype.name
    'float32'
    """
    return tf.cast(t, tf.float32) if t.dtype in (tf.float16, tf.bfloat16) else t


def jet(fn: Callable, x: ArrayLike, order: int = 1) -> Jet:
    """Compute the value and full derivatives of `fn` at x: the terms D^j_x f(x) of equation 1.

    With K outputs and D inputs, Df costs min(K, D + 1) passes through the net, and each higher
    order D or fewer for each of them. `fn` runs once. In a graph, up to 32 passes are unrolled, and
    may all be in memory at once; more are a loop of at most ten at a time. A tape around the call
    keeps all of them for the gradient in the weights. Where K and D are both large, or the order
    is high, use a projection.

    Args:
      fn: x [B,*in] -> [B,*out], of TensorFlow operations.
      x: [B,*in], floating.
      order: J, the highest derivative.

    Returns:
      A `Jet`: value [B,*out], D^j [B,*out,*in × j].

    Example:

    >>> f = jet(lambda x: x**3, tf.constant([2.0]), order=2)
    >>> [t.numpy().tolist() for t in (f.value, *f.derivatives)]
    [[8.0], [12.0], [12.0]]
    """
    return _differentiate("jet", fn, _point("jet", x), order, lambda value: value)


def projected_jet(fn: Callable, x: ArrayLike, order: int, directions: Callable) -> Jet:
    """Compute the value of `fn` and D^j_x <f(x), v>, derivatives projected on output directions.

    The projection of section 4.2. Costs P reverse passes or fewer, whatever the number of outputs.

    Args:
      fn: x [B,*in] -> [B,*out], of TensorFlow operations.
      x: [B,*in], floating.
      order: J, the highest derivative.
      directions: value [B,*out] -> v [B,P,*out].

    Returns:
      A `Jet`: value [B,*out], D^j [B,P,*in × j].

    Example:

    >>> x = tf.constant([[0.0, 0.0]])
    >>> f = projected_jet(tf.sin, x, 1, lambda y: tf.ones([1, 3, 2]))
    >>> f.derivatives[0].shape
    TensorShape([1, 3, 2])
    """
    caller = "projected_jet"

    def project(value):
        v = arguments.directions(caller, "directions", directions(value), value, True)
        return contract_outputs(value, v)

    return _differentiate(caller, fn, _point(caller, x), order, project)


def directional_jet(fn: Callable, x: ArrayLike, directions: Sequence[tf.Tensor]) -> Jet:
    """Compute the value of `fn` and D^j f[v1, ..., vj], derivatives along input directions.

    Equation 2. `fn` runs once; the cost does not grow with the number of inputs or outputs, and
    no full tensor is built.

    Args:
      fn: x [B,*in] -> [B,*out], of TensorFlow operations.
      x: [B,*in], floating.
      directions: v1, ..., vJ, each [B,P,*in]. The same one twice gives D²f[v,v].

    Returns:
      A `Jet`: value [B,*out], D^j [B,P,*out].

    Example:

    >>> v = tf.ones([1, 1, 2])
    >>> f = directional_jet(lambda x: tf.reduce_sum(x**2, 1), tf.constant([[1.0, 2.0]]), [v, v])
    >>> [t.numpy().tolist() for t in f.derivatives]
    [[[6.0]], [[4.0]]]
    """
    point = _point("directional_jet", x)
    along = [_projections("directional_jet", "directions", v, point) for v in directions]
    [value], *derivatives = _along("directional_jet", fn, point, along)
    return Jet(value, tuple(tf.stack(d, 1) for d in derivatives))


def partial_jet(fn: Callable, x: ArrayLike, v: tf.Tensor, order: int) -> Jet:
    """Compute the value of `fn` and D^j f[v, ...], each contracted with v once.

    Order 1 is Df[v], order 2 the Hessian-vector product H v. Df[v] costs one pass for each
    projection; above it, passes are counted as for `jet`, of P K outputs.

    Args:
      fn: x [B,*in] -> [B,*out], of TensorFlow operations.
      x: [B,*in], floating.
      v: [B,P,*in].
      order: J, the highest derivative.

    Returns:
      A `Jet`: value [B,*out], D^j [B,P,*out,*in × (j-1)].

    Example:

    >>> f = partial_jet(lambda x: x[:, 0] ** 2 * x[:, 1], tf.ones([1, 2]), tf.ones([1, 1, 2]), 2)
    >>> [t.numpy().tolist() for t in f.derivatives]
    [[[3.0]], [[[4.0, 2.0]]]]
    """
    caller = "partial_jet"
    order = require.whole_number(caller, "order", order, at_least=0)
    point, values = _point(caller, x), []
    if order == 0:
        return Jet(arguments.answer(caller, fn, point, differentiated=False))
    directions = _projections(caller, "v", v, point)

    def along(x):
        [value], tangents = _along(caller, fn, x, [directions])
        values.append(value)
        return tf.stack(tangents, 1)

    # Df[v] may be constant in x where f itself is not.
    tangent, derivatives = _differentiate(
        caller, along, point, order - 1, lambda t: t, required=False
    )
    return Jet(values[0], (tangent, *derivatives))


def jvp(fn: Callable, x: ArrayLike, v: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute the value of `fn` and its directional derivative Df(x)[v].

    Args:
      fn: x [B,*in] -> [B,*out], of TensorFlow operations.
      x: [B,*in], floating.
      v: [B,*in].

    Returns:
      The value [B,*out] and Df(x)[v] [B,*out].

    Example:

    >>> [t.numpy().tolist() for t in jvp(tf.sin, tf.constant([0.0]), tf.constant([2.0]))]
    [[0.0], [2.0]]
    """
    point = _point("jvp", x)
    v = arguments.directions("jvp", "v", v, point)
    [value], [tangent] = _along("jvp", fn, point, [[v]])
    return value, tangent


def vjp(fn: Callable, x: ArrayLike, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute the value of `fn` and the gradient of <f(x), u>.

    Args:
      fn: x [B,*in] -> [B,*out], of TensorFlow operations.
      x: [B,*in], floating.
      u: [B,*out].

    Returns:
      The value [B,*out] and the gradient [B,*in].

    Example:

    >>> [t.numpy().tolist() for t in vjp(tf.sin, tf.constant([0.0]), tf.constant([2.0]))]
    [[0.0], [2.0]]
    """
    point = _point("vjp", x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = arguments.answer("vjp", fn, point)
    u = tf.cast(arguments.directions("vjp", "u", u, value), value.dtype)
    return value, connected([tape.gradient(value, point, output_gradients=u)], point)[0]


def hvp(
    fn: Callable, x: ArrayLike, v: tf.Tensor, u: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute the value of `fn` and the Hessian-vector product D²<f,u>[v].

    Two reverse passes, whatever the size of x: the Hessian is not built.

    Args:
      fn: x [B,*in] -> [B,*out], of TensorFlow operations.
      x: [B,*in], floating.
      v: [B,*in].
      u: [B,*out]; may be left out where there is one output.

    Returns:
      The value [B,*out] and the product [B,*in].

    Raises:
      ValueError: u is missing and there are several outputs.

    Example:

    >>> [t.numpy().tolist() for t in hvp(lambda x: x**3, tf.constant([2.0]), tf.constant([1.0]))]
    [[8.0], [12.0]]
    """
    point = _point("hvp", x)
    v = tf.cast(arguments.directions("hvp", "v", v, point), point.dtype)
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        outer.watch(point)
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            inner.watch(point)
            value = arguments.answer("hvp", fn, point)
        if u is not None:
            u = tf.cast(arguments.directions("hvp", "u", u, value), value.dtype)
        elif value.shape[1:].num_elements() != 1:
            raise ValueError(f"hvp needs u: fn has outputs of shape {value.shape}, not one.")
        [gradient] = connected([inner.gradient(value, point, output_gradients=u)], point)
    product = outer.gradient(gradient, point, output_gradients=v)
    return value, connected([product], point, required=False)[0]


def reshape_derivative(d: tf.Tensor, outputs: Sequence[int], x: tf.Tensor, j: int) -> tf.Tensor:
    """Give D^j its static shape: in a graph, a black box returns it without one.

    Args:
      d: D^j with [B,*out,*in × j] entries.
      outputs: *out.
      x: [B,*in].
      j: the order.

    Returns:
      [B,*out,*in × j].

    Example:

    >>> reshape_derivative(tf.zeros([4, 2]), [1], tf.zeros([4, 2]), 1).shape
    TensorShape([4, 1, 2])
    """
    return tf.reshape(d, [tf.shape(x)[0], *outputs, *list(x.shape[1:]) * j])


def _point(caller, x) -> tf.Tensor:
    return arguments.refuse_scalar(caller, as_differentiable(x, f"{caller}: x"))


def _projections(caller, name, v, point) -> list:
    """Directions [B,P,*in] as P tensors [B,*in]."""
    return tf.unstack(arguments.directions(caller, name, v, point, projections=True), axis=1)


def _differentiate(caller, fn, x, order, project, required=True) -> Jet:
    """Nested tapes: the value of fn, and the derivatives of project(value)."""
    order = require.whole_number(caller, "order", order, at_least=0)
    with contextlib.ExitStack() as recording:
        tapes = [
            recording.enter_context(
                tf.GradientTape(persistent=True, watch_accessed_variables=False)
            )
            for _ in range(order)
        ]
        for tape in tapes:
            tape.watch(x)
        value = arguments.answer(caller, fn, x, differentiated=order > 0)
        return Jet(value, tuple(derivatives(tapes, project(value), x, required)))


def _along(caller, fn, x, directions):
    """[[f], [Df[v1], ...], [D²f[v1,v2], ...], ...]: a list over P for each order.

    directions: for each order, P tensors [B,*in]. Reverse over reverse: the gradient of <f, u>
    is linear in u, and its gradient with respect to u is Df. `fn` runs once for all P.
    tf.autodiff.ForwardAccumulator would read better, but nested it cannot be differentiated
    eagerly.
    """
    if not directions:
        return [[arguments.answer(caller, fn, x)]]
    *lower, vs = directions
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as over_u:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as over_x:
            over_x.watch(x)
            terms = _along(caller, fn, x, lower)
        us = [tf.ones_like(t) for t in terms[-1]]
        over_u.watch(us)
        pairs = zip(terms[-1], us, strict=True)
        gradients = [over_x.gradient(t, x, output_gradients=u) for t, u in pairs]
        gradients = connected(gradients, x, required=not lower)
    if not lower:  # f itself is the same for every projection
        gradients, us = gradients * len(vs), us * len(vs)
    tangents = [
        over_u.gradient(gradient, u, output_gradients=tf.cast(v, x.dtype))
        for gradient, u, v in zip(gradients, us, vs, strict=True)
    ]
    return [*terms, connected(tangents, us[0], required=False)]
