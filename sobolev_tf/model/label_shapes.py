"""The shapes that labels and directions must have, and the shorter forms that are accepted."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from sobolev_tf.keras_support.shapes import batch_shape, shown_shape, with_axes
from sobolev_tf.model.class_numbers import are_class_numbers


def fit_shape(
    label: Any, expected: Sequence, outputs: Sequence, name: str, classes: bool = False
) -> tf.Tensor:
    """Return a label in the shape `expected`, from that or, with one output, without its axis.

    Args:
      label: [B,*out,*in × j], or [B,*in × j] if *out is (1,).
      expected: [B,*out,*in × j]; None for sizes that are not known.
      outputs: *out.
      name: the term's name, for errors.
      classes: class numbers pass unchanged, see `class_numbers`.

    Raises:
      ValueError: for any other shape.

    Example:

    >>> fit_shape(tf.zeros([5, 2]), [None, 1, 2], [1], "d1").shape
    TensorShape([5, 1, 2])
    >>> fit_shape(tf.zeros([5, 3]), [None, 1, 2], [1], "d1")
    Traceback (most recent call last):
    ValueError: label d1 has shape [5, 3], expected [B, 1, 2] or [B, 2]: labels come in the \
order value, d1, ..., with the axes batch, outputs, inputs.
    """
    label = tf.convert_to_tensor(label)
    dims, short = list(expected[1:]), list(expected[2:])
    if classes and name == "value" and are_class_numbers(label, outputs):
        return label
    if label.shape.rank is None:  # known at run time only
        rank, in_full = tf.rank(label), len(dims) + 1
        if list(outputs) == [1]:
            label = tf.cond(rank < in_full, lambda: tf.expand_dims(label, 1), lambda: label)
        label = with_axes(label, [None], dims, f"label {name}")
    if _fits(label.shape[1:], dims):
        return with_axes(label, [None], dims, f"label {name}")
    forms = [batch_shape(dims)]
    if list(outputs) == [1]:
        if _fits(label.shape[1:], short):
            return tf.expand_dims(with_axes(label, [None], short, f"label {name}"), 1)
        forms.append(batch_shape(short))
    advice = "labels come in the order value, d1, ..., with the axes batch, outputs, inputs."
    if classes and name == "value" and are_class_numbers(tf.cast(label, tf.int32), outputs):
        advice = 'class numbers are integers, as y.astype("int32") makes them.'
    shape, expected_shapes = shown_shape(label.shape), " or ".join(forms)
    raise ValueError(f"label {name} has shape {shape}, expected {expected_shapes}: {advice}")


def fit_directions(v: Any, dims: Sequence, name: str) -> tf.Tensor:
    """Return the directions of `name` in the shape [B,P,*dims], from that or from [B,*dims].

    Raises:
      ValueError: for any other shape.

    Example:

    >>> fit_directions(tf.zeros([5, 2]), [2], "jvp").shape
    TensorShape([5, 1, 2])
    """
    v = tf.convert_to_tensor(v)
    dims = list(dims)
    if v.shape.rank is not None and _fits(v.shape[1:], dims):
        return tf.expand_dims(with_axes(v, [None], dims, f"directions of {name}"), 1)
    if v.shape.rank == len(dims) + 2 and v.shape[1] is not None and _fits(v.shape[2:], dims):
        return with_axes(v, [None, v.shape[1]], dims, f"directions of {name}")
    raise ValueError(
        f"directions of {name} have shape {shown_shape(v.shape)}, expected {batch_shape(dims)} or "
        f"{batch_shape(['P', *dims])}."
    )


def fit_directional_shape(label: Any, expected: Sequence, name: str, output: int = -1) -> tf.Tensor:
    """Return a label of `name` in the shape `expected`, [B,P,*dims].

    The axis P may be left out if it is 1, and so may the axis of one output.

    Args:
      label: [B,P,*dims], or a shorter form.
      expected: its shape in full; None for sizes that are not known.
      name: the term's name, for errors.
      output: which of the axes after P may be left out if it is 1: the last, or the first.

    Raises:
      ValueError: for any other shape.

    Example:

    >>> fit_directional_shape(tf.zeros([5]), [None, 1, 1], "jvp").shape
    TensorShape([5, 1, 1])
    """
    label, dims = tf.convert_to_tensor(label), list(expected[1:])
    forms, rest = [dims], dims[1:]
    if rest and rest[output] == 1:
        forms.append([dims[0], *(rest[1:] if output == 0 else rest[:-1])])
    if dims[0] == 1:
        forms += [form[1:] for form in forms]
    fitting = [
        form for form in forms if label.shape.rank is not None and _fits(label.shape[1:], form)
    ]
    if not fitting:
        raise ValueError(
            f"label {name} has shape {shown_shape(label.shape)}, expected {batch_shape(dims)}: one "
            "for each of its directions."
        )
    return tf.reshape(with_axes(label, [None], fitting[0], f"label {name}"), [-1, *dims])


def _fits(shape, dims):
    return len(shape) == len(dims) and all(
        a is None or b is None or a == b for a, b in zip(shape, dims, strict=True)
    )
