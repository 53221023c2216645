"""Data sets whose batches are checked in the input pipeline, before a step takes them.

Each batch is summed inside the pipeline. If the sum is not finite, the batch is checked on the
host, which names the row. No step ever sees a wrong batch, whether steps run several at a time, by
XLA, or on replicas. If a data set only cuts batches from tensors that it holds, these tensors are
checked once, and batches are not.
"""

import functools
import itertools
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from sobolev_tf.keras_support.tensor_source import source

# Of a batch, its number and that of its first row; raises an error if the batch is wrong.
HostCheck = Callable[[Any, int, int], Any]

_CHECKS: weakref.WeakValueDictionary = weakref.WeakValueDictionary()  # by number
_NUMBERS = itertools.count()
_SMALL, _SMALL_ROW = 2**16, 2**8  # elements of tensors that are summed as one


def guard(data: tf.data.Dataset, surely_right: Callable[[Any], tf.Tensor], check: HostCheck) -> Any:
    """Return a data set of the same batches that raises an error at a wrong one.

    Args:
      data: batches of dense tensors; ragged, sparse and string tensors pass unchecked.
      surely_right: from a batch to whether it is surely right, in TensorFlow operations; traced
        once for all data sets of a structure where equal ones compare equal.
      check: is called with the arrays of each batch that is not surely right.

    Returns:
      The data set, of the same cardinality.

    Example:

    >>> def refuse(batch, number, row):
    ...     raise ValueError(f"batch {number} from row {row}")
    >>> data = tf.data.Dataset.from_tensor_slices([1.0, 2.0, np.nan]).batch(2)
    >>> guarded = iter(guard(data, lambda batch: all_finite([batch]), refuse))
    >>> next(guarded).numpy().tolist()
    [1.0, 2.0]
    """
    spec = data.element_spec
    if not any(map(_is_dense, tf.nest.flatten(spec))):
        return data
    held = source(data)
    if held is not None and surely_right(held):
        return data
    check = functools.partial(check)  # a new object, to which weak references are possible
    number = next(_NUMBERS)
    _CHECKS[number] = check
    state = [tf.constant(n, tf.int64) for n in (number, 0, 0)]
    return _keep(_scan(data, surely_right, state), check)


def all_finite(tensors: Iterable[tf.Tensor]) -> tf.Tensor:
    """Tell whether all numbers are finite, by one sum of all small tensors, and one a large one.

    A sum that overflows counts as not finite; the check on the host then decides.

    >>> bool(all_finite([tf.ones([2]), tf.constant([1, 2])])), bool(all_finite([tf.math.log(-1.0)]))
    (True, False)
    """
    totals: list[tf.Tensor] = []
    small: dict[tf.DType, list[tf.Tensor]] = {}
    for tensor in tensors:
        if tensor.dtype.is_floating and _is_small(tensor):
            flat = tf.reshape(_wide(tensor), [-1])
            small.setdefault(flat.dtype, []).append(flat)
        elif tensor.dtype.is_floating:
            totals.append(tf.reduce_sum(_wide(tensor)))
    # An operation costs more than such a sum.
    totals += [tf.reduce_sum(tf.concat(flat, 0)) for flat in small.values()]
    if not totals:
        return tf.constant(True)
    if len(totals) > 1:
        totals = [tf.add_n([tf.cast(total, tf.float64) for total in totals])]
    return tf.math.is_finite(totals[0])


def same_rows(tensors: Iterable[tf.Tensor]) -> tf.Tensor | None:
    """Tell whether tensors have as many rows each; None if their shapes say so.

    >>> same_rows([tf.zeros([2]), tf.zeros([2, 3])]), bool(same_rows([tf.zeros([2]), tf.zeros(3)]))
    (None, False)
    """
    shapes = [t for t in tensors if t.shape.rank != 0]
    known = {t.shape[0] for t in shapes if t.shape.rank is not None}
    if len(shapes) < 2 or (len(known) == 1 and None not in known):
        return None
    rows = tf.stack([tf.shape(t)[0] for t in shapes])
    return tf.reduce_all(rows[1:] == rows[:-1])


def all_true(checks: Iterable[tf.Tensor | None]) -> tf.Tensor:
    """Tell whether all checks [] are true; those that are None count as true.

    >>> bool(all_true([None, tf.constant(True)]))
    True
    """
    made = [check for check in checks if check is not None]
    return functools.reduce(tf.logical_and, made) if made else tf.constant(True)


def _scan(data, surely_right, state):
    spec = data.element_spec
    leaves = tf.nest.flatten(spec)
    if not all(type(leaf) is tf.TensorSpec for leaf in leaves):

        @tf.autograph.experimental.do_not_convert
        def pass_on(state, batch):
            return _pass_on(spec, surely_right, state, batch)

        return data.scan(tuple(state), pass_on)
    # As Dataset.scan, but with a function that is already traced.
    traced = _traced(_Structure(spec), surely_right)
    variant = tf.raw_ops.ScanDataset(
        input_dataset=tf.data.experimental.to_variant(data),
        initial_state=state,
        other_arguments=traced.captured_inputs,
        f=traced,
        output_types=[leaf.dtype for leaf in leaves],
        output_shapes=[leaf.shape for leaf in leaves],
        preserve_cardinality=True,
    )
    guarded = tf.data.experimental.from_variant(variant, spec).with_options(data.options())
    return _keep(guarded, data, traced)


def _keep(data, *parts):
    """Return a data set that keeps alive what it is made of."""
    data._sobolev_tf_parts = getattr(data, "_sobolev_tf_parts", ()) + parts
    return data


class _Structure:
    """The structure of a batch, which compares."""

    def __init__(self, spec: Any) -> None:
        self.spec, self._text = spec, repr(spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Structure) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


@functools.lru_cache(maxsize=32)
def _traced(structure, surely_right):
    """Trace `_pass_on`, from flat state and batch to flat state and batch."""
    leaves = tf.nest.flatten(structure.spec)
    state = [tf.TensorSpec([], tf.int64)] * 3

    def flat(*tensors):
        batch = tf.nest.pack_sequence_as(structure.spec, tensors[3:])
        return tf.nest.flatten(_pass_on(structure.spec, surely_right, tensors[:3], batch))

    with tf.device(None):
        function = tf.function(
            flat, autograph=False, experimental_attributes={"_tf_data_function": True}
        )
        return function.get_concrete_function(*state, *leaves)


def _pass_on(spec, surely_right, state, batch):
    """Let a batch pass: (check, number, row), batch -> the same of the next batch, batch."""
    check, number, row = state
    leaves = tf.nest.flatten(batch)
    dense = [i for i, leaf in enumerate(tf.nest.flatten(spec)) if _is_dense(leaf)]
    shown = [leaves[i] for i in dense]

    def on_host(check, number, row, *arrays):
        everything: list[Any] = [None] * len(leaves)
        for i, array in zip(dense, arrays, strict=True):
            everything[i] = array
        _CHECKS[int(check)](tf.nest.pack_sequence_as(spec, everything), int(number), int(row))
        return np.True_

    def by_host():
        checked = tf.numpy_function(on_host, [check, number, row, *shown], tf.bool)
        return tf.ensure_shape(checked, [])

    with tf.control_dependencies([tf.cond(surely_right(batch), lambda: True, by_host)]):
        rows = tf.shape(shown[0], tf.int64)[0] if shown[0].shape.rank != 0 else 0
        return (check, number + 1, row + rows), batch


def _is_small(tensor):
    if (elements := tensor.shape.num_elements()) is not None:
        return elements <= _SMALL
    row = tensor.shape[1:].num_elements() if tensor.shape.rank else None
    return row is not None and row <= _SMALL_ROW


def _wide(t):
    return t if t.dtype.size >= 4 else tf.cast(t, tf.float32)


def _is_dense(spec):
    numbers = isinstance(spec, tf.TensorSpec) and not isinstance(spec, tf.RaggedTensorSpec)
    return numbers and (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool)
