"""Parts of a function that have no gradient, beside others that have one."""

import tensorflow as tf

from sobolev_tf import warn

_IN_PYTHON = ("PyFunc", "PyFuncStateless")  # what tf.numpy_function makes


def warn_of_detached_part(caller: str, value: tf.Tensor, x: tf.Tensor) -> None:
    """Warn where a part of a traced value depends on x by way of `tf.numpy_function`.

    Its gradient is missing from the derivative, which the other parts give: the whole looks well.
    Nothing is known of values that are not traced, and `stop_gradient` or rounding are taken for
    what was meant.

    Args:
      caller: the function that the warning names.
      value: symbolic [B,*out].
      x: symbolic [B,*in].

    Example:

    >>> import warnings
    >>> @tf.function
    ... def sum_of_two(x):
    ...     y = tf.sin(x) + tf.numpy_function(lambda t: t**2, [x], tf.float32)
    ...     warn_of_detached_part("jet", y, x)
    ...     return y
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = sum_of_two(tf.ones([2]))
    >>> str(caught[0].message)[:52]
    'jet: a part of fn runs in Python (numpy_function), a'
    """
    if has_detached_part(value, x):
        warn.at_users_line(
            f"{caller}: a part of fn runs in Python (numpy_function), and has no gradient: it is "
            "missing in derivatives. Use TensorFlow operations, or targets.FiniteDifferences(fn)."
        )


def has_detached_part(value: tf.Tensor, x: tf.Tensor) -> bool:
    """Tell whether a traced value depends on x by way of `tf.numpy_function`.

    Args:
      value, x: symbolic.
    """
    return any(depends_on(op, x.op) for op in _behind(value.op) if op.type in _IN_PYTHON)


def depends_on(op: tf.Operation, source: tf.Operation) -> bool:
    """Tell whether an operation takes what another one of its graph gives."""
    return any(other is source for other in _behind(op))


def _behind(op):
    """An operation and all that its result comes from, up to gradients of somebody's own."""
    seen, waiting = {}, [op]
    while waiting:
        op = waiting.pop()
        if op.name in seen:
            continue
        seen[op.name] = op
        if not _has_own_gradient(op):
            waiting += [t.op for t in op.inputs]
    return list(seen.values())


def _has_own_gradient(op):
    try:
        op.get_attr("_gradient_op_type")
    except ValueError:
        return False
    return True
