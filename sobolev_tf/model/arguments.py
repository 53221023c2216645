"""What users pass to SobolevModel, checked and brought into one form, with errors of one line."""

import random
from collections.abc import Iterator
from numbers import Integral
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import metrics as jet_metrics
from sobolev_tf import projections, require
from sobolev_tf.keras_support.arrays import parts
from sobolev_tf.model import labels
from sobolev_tf.model.input_batches import as_arrays, is_stream, read
from sobolev_tf.model.inputs import Inputs
from sobolev_tf.projections import SIDES, Projection


def as_projection(
    caller: str,
    projection: Projection | str | dict | None,
    seed: int | None = None,
    **shorthand: Any,
) -> Projection | None:
    """Return the projection that a constructor's arguments describe; None for full derivatives.

    Args:
      caller: the class that errors name.
      projection: a `Projection`, its fields as a dict, its side ("output" or "input"), or None.
      seed: seed of the directions; None draws one.
      shorthand: count, contraction, unbiased, orthogonal: other fields, if `projection` is a side.

    Raises:
      ValueError: a setting is unknown, or passed beside a `Projection` that has it.

    Example:

    >>> made = as_projection("SobolevModel", "input", seed=1, count=2)
    >>> made == Projection("input", count=2, seed=1)
    True
    """
    if isinstance(projection, dict):
        projection = Projection(**projection)
    plain: dict[str, Any] = {"contraction": "distinct", "unbiased": False, "orthogonal": False}
    count = shorthand.pop("count", 1)
    settings = plain | shorthand
    is_plain = count == 1 and settings == plain
    if isinstance(projection, Projection):
        if seed is not None or not is_plain:
            raise ValueError(
                f"{caller}: projection is a Projection already: give projections, contraction, "
                "unbiased, orthogonal and seed there, as in Projection('output', count=3)."
            )
        return projection
    if projection is None and not is_plain:
        raise ValueError(
            f"{caller}: projections, contraction, unbiased and orthogonal need a "
            'projection: give projection="output" or "input", or leave them out.'
        )
    require.one_of(caller, "projection", projection, (None, *SIDES))
    require.whole_number(caller, "projections", count, at_least=1)
    seed = random.randrange(2**31) if seed is None else seed
    projections.check(caller, seed=seed, **settings)
    return Projection(projection, count, seed=seed, **settings) if projection else None


def refuse_no_target(caller: str, target: Any) -> None:
    """Refuse a target that is neither a function of x nor has a method `jet`.

    Raises:
      ValueError: the target has no values.

    Example:

    >>> refuse_no_target("SobolevModel", "teacher")
    Traceback (most recent call last):
    ValueError: SobolevModel: target is a function of x, such as those of st.targets, got \
'teacher'.
    """
    known = callable(target) or hasattr(target, "jet")
    if target is None or (known and not isinstance(target, type)):
        return
    raise ValueError(
        f"{caller}: target is a function of x, such as those of st.targets, got "
        f"{require.shown(target)}."
    )


def metrics_of_values(metrics: Any, order: int) -> Any:
    """Return Keras metrics of values; a dict may name them as {"value": [...]}.

    Raises:
      ValueError: a metric is for another term, as only `jet_metrics` are.
    """
    if not isinstance(metrics, dict):
        return metrics
    if others := [name for name in labels.all_terms(order) if name in metrics and name != "value"]:
        raise ValueError(
            f"metrics has {others[0]!r}, but Keras's metrics are of values only: for derivatives "
            f"choose jet_metrics=[...] of {', '.join(jet_metrics.NAMES)}, which cover every term."
        )
    if list(metrics) != ["value"]:
        return metrics
    chosen = metrics["value"]
    return chosen if isinstance(chosen, list | tuple | None) else [chosen]


def without_xla_for_black_boxes(options: dict[str, Any], target: Any) -> dict[str, Any]:
    """Return compile's options, with jit_compile=False if the target is a black box.

    Raises:
      ValueError: the target is a black box, and jit_compile=True was passed.
    """
    if not hasattr(target, "jet"):
        return options
    if options.get("jit_compile") is True:
        raise ValueError("jit_compile=True: XLA cannot call a black box; leave it out.")
    return options | {"jit_compile": False}


def refuse_labels_as_batch_size(batch_size: Any, where: str) -> None:
    """Raise ValueError if `batch_size` is not a number: most likely it is derivatives."""
    if batch_size is not None and not isinstance(batch_size, Integral):
        raise ValueError(
            f"{where}: batch_size is a number, got a {type(batch_size).__name__}: pass derivatives "
            f"with the labels, as in {where.rpartition('.')[2]}(x, (y, dy))."
        )


def label_batches(
    x: Any,
    y: Any,
    sample_weight: Any,
    mask: Any,
    batch_size: int,
    steps: int | None,
    where: str,
    inputs: Inputs,
) -> Iterator:
    """Yield batches (x, y, sample_weight, mask) of arrays, or of a data set's first `steps`.

    Raises:
      ValueError: a stream is endless and `steps` is None, a mask is passed with a stream, or x is
        not an array.
    """
    refuse_labels_as_batch_size(batch_size, where)
    batch_size = require.whole_number(where, "batch_size", batch_size, at_least=1)
    if is_stream(x):
        if mask is not None:
            raise ValueError(f"{where}: mask goes with arrays, and x is a data set: pass arrays.")
        for batch in read(x, steps, where):
            yield *parts(where, batch), None
        return
    x = as_arrays(x, where, inputs)
    if mask is not None:
        mask = np.asarray(mask)
        require.same_rows(where, {"x": keras.tree.flatten(x)[0], "mask": mask}, at_least=0)
    passed = {"x": x, "y": y, "sample_weight": sample_weight, "mask": mask}
    names = [name for name, entry in passed.items() if entry is not None]
    arrays = tuple(keras.tree.lists_to_tuples([passed[name] for name in names]))
    for batch in tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size).take(steps or -1):
        by_name = dict(zip(names, batch, strict=True))
        yield tuple(by_name.get(name) for name in passed)
