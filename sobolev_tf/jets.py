"""Jets: a function's value and derivatives at a point, whole or seen along random directions.

Shapes: x [B,*in], f(x) [B,*out], D^j f(x) [B,*out,*in × j]. Directions carry P projections per
example: [B,P,*out] on the outputs, [B,P,*in] on the inputs.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Jet(NamedTuple):
    """A function's value [B,*out] and its derivatives (D^1, ..., D^J), D^j [B,*out,*in × j]."""

    value: tf.Tensor
    derivatives: tuple = ()


def at_least_float32(t):
    """t, in float32 if it was in half precision: what is summed or compared wants the digits."""
    return tf.cast(t, tf.float32) if t.dtype in (tf.float16, tf.bfloat16) else t


def jet(fn: Callable, x, order: int = 1) -> Jet:
    """Value and full derivatives of `fn` at x: the terms of equation 1, D^j_x f(x).

    fn maps x [B,*in] to [B,*out] row by row; D^j is [B,*out,*in × j]. One reverse pass for
    each entry of D^(j-1), so wide outputs or high orders want a projection instead. Nothing is
    gradient-stopped: a tape around the call sees the weights. A layer that couples the rows of
    a batch (BatchNormalization in training mode) adds the other rows' share.

    Raises ValueError where x is not floating, or no output depends on x.

    >>> f = jet(lambda x: x**3, tf.constant([2.0]), order=2)
    >>> [t.numpy().tolist() for t in (f.value, *f.derivatives)]
    [[8.0], [12.0], [12.0]]
    """
    return _differentiate(fn, as_differentiable(x), order, lambda value: value)


def projected_jet(fn: Callable, x, order: int, directions: Callable) -> Jet:
    """Value of `fn` and D^j_x <f(x), v>: section 4.2's projection onto output directions.

    `directions` maps the value [B,*out] to v [B,P,*out]; D^j is [B,P,*in × j]. Costs P reverse
    passes however many outputs there are.

    >>> f = projected_jet(tf.sin, tf.constant([[0.0, 0.0]]), 1, lambda y: tf.ones([1, 3, 2]))
    >>> f.derivatives[0].shape
    TensorShape([1, 3, 2])
    """
    return _differentiate(
        fn, as_differentiable(x), order, lambda value: contract_outputs(value, directions(value))
    )


def directional_jet(fn: Callable, x, directions) -> Jet:
    """Value of `fn` and D^j f[v1, ..., vj], j = 1..J: equation 2 with directions on the inputs.

    directions: J tensors [B,P,*in]; give one twice for D²f[v,v]. D^j is [B,P,*out]. `fn` runs
    once; the cost does not grow with the inputs or outputs, and no full tensor is built.

    >>> v = tf.ones([1, 1, 2])
    >>> f = directional_jet(lambda x: tf.reduce_sum(x**2, 1), tf.constant([[1.0, 2.0]]), [v, v])
    >>> [t.numpy().tolist() for t in f.derivatives]
    [[[6.0]], [[4.0]]]
    """
    [value], *derivatives = _along(
        fn, as_differentiable(x), [tf.unstack(v, axis=1) for v in directions]
    )
    return Jet(value, tuple(tf.stack(d, 1) for d in derivatives))


def partial_jet(fn: Callable, x, v, order: int) -> Jet:
    """Value of `fn` and D^j f[v, ...], contracted with the first direction alone.

    v: [B,P,*in]; D^j is [B,P,*out,*in × (j-1)]: Df[v] at order 1, the Hessian-vector product
    H v at order 2. Costs a reverse pass for each projection and entry of D^(j-1) f[v].

    >>> f = partial_jet(lambda x: x[:, 0] ** 2 * x[:, 1], tf.ones([1, 2]), tf.ones([1, 1, 2]), 2)
    >>> [t.numpy().tolist() for t in f.derivatives]
    [[[3.0]], [[[4.0, 2.0]]]]
    """
    x, values = as_differentiable(x), []

    def along(x):
        [value], tangents = _along(fn, x, [tf.unstack(v, axis=1)])
        values.append(value)
        return tf.stack(tangents, 1)

    if order == 0:
        return Jet(fn(x))
    # Df[v] may be constant in x where f itself is not.
    tangent, derivatives = _differentiate(along, x, order - 1, lambda t: t, required=False)
    return Jet(values[0], (tangent, *derivatives))


def jvp(fn: Callable, x, v):
    """Value [B,*out] and the directional derivative Df(x)[v] [B,*out], for v [B,*in].

    >>> [t.numpy().tolist() for t in jvp(tf.sin, tf.constant([0.0]), tf.constant([2.0]))]
    [[0.0], [2.0]]
    """
    [value], [tangent] = _along(fn, as_differentiable(x), [[v]])
    return value, tangent


def vjp(fn: Callable, x, u):
    """Value [B,*out] and the gradient of <f(x), u> [B,*in], for u [B,*out].

    >>> [t.numpy().tolist() for t in vjp(tf.sin, tf.constant([0.0]), tf.constant([2.0]))]
    [[0.0], [2.0]]
    """
    x = as_differentiable(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = fn(x)
    return value, _connected([tape.gradient(value, x, output_gradients=u)], x)[0]


def hvp(fn: Callable, x, v, u=None):
    """Value [B,*out] and the Hessian-vector product of <f(x), u>, D²<f,u>[v] [B,*in].

    v: [B,*in]; u: [B,*out], which may be left out where there is one output. Two reverse
    passes, whatever the size of x: the Hessian is not built.

    >>> [t.numpy().tolist() for t in hvp(lambda x: x**3, tf.constant([2.0]), tf.constant([1.0]))]
    [[8.0], [12.0]]
    """
    x = as_differentiable(x)
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        outer.watch(x)
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            inner.watch(x)
            value = fn(x)
        if u is None and value.shape[1:].num_elements() != 1:
            raise ValueError(f"hvp needs u: fn has outputs of shape {value.shape}, not one.")
        [gradient] = _connected([inner.gradient(value, x, output_gradients=u)], x)
    product = outer.gradient(gradient, x, output_gradients=tf.cast(v, x.dtype))
    return value, _connected([product], x, required=False)[0]


def contract_outputs(d, v):
    """<d, v> over the output axes: d [B,*out,*rest], v [B,P,*out] -> [B,P,*rest].

    >>> contract_outputs(tf.ones([1, 2, 3]), tf.constant([[[1.0, 2.0]]])).numpy().tolist()
    [[[3.0, 3.0, 3.0]]]
    """
    v = tf.cast(v, d.dtype)
    rank = len(v.shape) - 1
    size = v.shape[2:].num_elements()
    rest = tf.shape(d)[rank:]
    flat = tf.reshape(d, tf.stack([tf.shape(d)[0], size, tf.reduce_prod(rest)]))
    product = tf.matmul(tf.reshape(v, [tf.shape(v)[0], v.shape[1], size]), flat)
    return _reshape(product, [*v.shape[:2], *d.shape[rank:]], tf.shape(v)[:2], rest)


def contract_inputs(d, directions, order: int | None = None):
    """D^j[v1, ...]: d [B,*out,*in × j], i directions [B,P,*in] -> [B,P,*out,*in × (j-i)].

    j is `order`, or else the number of directions.

    >>> v = tf.constant([[[1.0, 2.0]]])
    >>> contract_inputs(tf.ones([1, 4, 2]), [v]).numpy().tolist()
    [[[3.0, 3.0, 3.0, 3.0]]]
    """
    dims = len(directions[0].shape) - 2
    rank = len(d.shape) - (order or len(directions)) * dims
    out = d.shape[1:rank].num_elements()
    batch, projections = tf.shape(d)[0], directions[0].shape[1]
    size = directions[0].shape[2:].num_elements()
    rest = tf.shape(d)[rank + len(directions) * dims :]
    flat = tf.reshape(d, [batch, 1, out, *[size] * len(directions), tf.reduce_prod(rest)])
    for v in directions:
        v = tf.cast(v, d.dtype)
        v = tf.reshape(v, [batch, projections, 1, size] + [1] * (len(flat.shape) - 4))
        flat = tf.reduce_sum(flat * v, 3)
    shape = [d.shape[0], projections, *d.shape[1:rank], *d.shape[rank + len(directions) * dims :]]
    return _reshape(flat, shape, tf.stack([batch, projections]), tf.shape(d)[1:rank], rest)


def reshape_derivative(d, outputs, x, j: int):
    """D^j in the shape [B,*outputs,*in × j], from what a black box answered in a graph.

    >>> reshape_derivative(tf.zeros([4, 2]), [1], tf.zeros([4, 2]), 1).shape
    TensorShape([4, 1, 2])
    """
    return tf.reshape(d, [tf.shape(x)[0], *outputs, *list(x.shape[1:]) * j])


def as_differentiable(x, name: str = "x"):
    """x as a tensor, or ValueError where it holds integers or is several arrays.

    >>> as_differentiable([1, 2])
    Traceback (most recent call last):
    ValueError: x holds int32, which cannot be differentiated: pass x.astype("float32").
    """
    several = isinstance(x, list | tuple) and any(hasattr(each, "shape") for each in x)
    if several or isinstance(x, dict):
        raise ValueError(
            f"{name} is one array, got a {type(x).__name__} of {len(x)}: close over the inputs "
            'that stay, as in lambda a: f({"a": a, "b": b}).'
        )
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        raise ValueError(
            f"{name} holds {x.dtype.name}, which cannot be differentiated: "
            f'pass {name}.astype("float32").'
        )
    return x


def _differentiate(fn, x, order, project, required=True) -> Jet:
    """Nested tapes: the value of fn, and the derivatives of project(value)."""

    def up_to(j):
        if j == 0:
            value = fn(x)
            return [value, project(value)]
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(x)
            terms = up_to(j - 1)
            entries = _entries(terms[-1])
        rows = _connected([tape.gradient(entry, x) for entry in entries], x, required and j == 1)
        last = terms[-1]
        shape = [*last.shape, *x.shape[1:]]
        return [*terms, _reshape(tf.stack(rows, 1), shape, tf.shape(last), tf.shape(x)[1:])]

    value, _, *derivatives = up_to(order)
    return Jet(value, tuple(derivatives))


def _along(fn, x, directions):
    """[[f], [Df[v1], ...], [D²f[v1,v2], ...], ...]: a list over P for each order.

    directions: for each order, P tensors [B,*in]. Reverse over reverse: the gradient of <f, u>
    is linear in u, and its gradient with respect to u is Df. `fn` runs once for all P.
    tf.autodiff.ForwardAccumulator would read better, but nested it cannot be differentiated
    eagerly.
    """
    if not directions:
        return [[fn(x)]]
    *lower, vs = directions
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as over_u:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as over_x:
            over_x.watch(x)
            terms = _along(fn, x, lower)
        us = [tf.ones_like(t) for t in terms[-1]]
        over_u.watch(us)
        pairs = zip(terms[-1], us, strict=True)
        gradients = [over_x.gradient(t, x, output_gradients=u) for t, u in pairs]
        gradients = _connected(gradients, x, required=not lower)
    each = [(gradients[0], us[0])] * len(vs) if not lower else zip(gradients, us, strict=True)
    tangents = [
        over_u.gradient(gradient, u, output_gradients=tf.cast(v, x.dtype))
        for (gradient, u), v in zip(each, vs, strict=True)
    ]
    return [*terms, _connected(tangents, us[0], required=False)]


def _entries(y):
    """The entries of y [B,*out], each [B]. Unrolled: batch_jacobian fails on an empty batch."""
    size = y.shape[1:].num_elements()
    if size is None:
        raise ValueError(
            f"fn returned shape {y.shape}: every axis but the batch must be known to take "
            "full derivatives. Fix the input shape, or use a projection."
        )
    return [y] if size == 1 else tf.unstack(tf.reshape(y, [tf.shape(y)[0], size]), axis=1)


def _connected(gradients, like, required=True):
    """Gradients with None read as zero; all None at the first order is an error."""
    if required and all(g is None for g in gradients):
        raise ValueError(
            "no output depends on x: there is no gradient path from the output back to the "
            "input (look for a constant, stop_gradient, argmax, rounding, a cast to integers)."
        )
    zeros = tf.zeros_like(like)
    return [zeros if g is None else tf.convert_to_tensor(g) for g in gradients]


def _reshape(t, static, *dynamic):
    """Reshape to `dynamic`, kept static where it is known."""
    if all(n is not None for n in static):
        return tf.reshape(t, static)
    return tf.ensure_shape(tf.reshape(t, tf.concat(dynamic, 0)), static)
