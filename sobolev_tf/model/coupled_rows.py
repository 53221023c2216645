"""Nets that couple the rows of a batch: found by one look at two rows."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import warn

_ROWS = 2
_ROUNDING = 1e-6  # share of the largest slope: rounding, where the slope should be 0


def warn_of_coupled_rows(caller: str, model: Any, x: Any) -> None:
    """Warn, once for each model, if the net's value in one row depends on x in another.

    A derivative then carries the other rows' share, and changes with the batch. The net runs once
    on two rows, in inference mode; what couples rows in training only is not seen here.

    Args:
      caller: the method that the warning names.
      model: a built `EquationModel`.
      x: arrays [B,...], in any structure.
    """
    if not model.order or "coupled rows" in model.warned or model._distribute_strategy is not None:
        return
    model.warned.add("coupled rows")
    try:
        with keras.StatelessScope():  # a layer's state stays as it is
            own, other = _slopes(model, keras.tree.map_structure(lambda a: a[:_ROWS], x))
    except Exception:
        return  # the net takes only batches of one size, or fails: the fit says why
    if other > _ROUNDING * own:
        warn.at_users_line(
            f"{caller}: the net couples the rows of a batch: its value in row 0 depends on x in "
            "row 1, so derivatives carry other rows' shares and change with the batch. Look for "
            "means, sums or attention over axis 0."
        )


def _slopes(model, x):
    """The largest slope of row 0 in its own x, and in that of other rows."""
    x = model.equation.cast(x)
    leaves = [leaf for leaf in keras.tree.flatten(x) if leaf.dtype.is_floating]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(leaves)
        first = tf.reduce_sum(model.equation.value(x, False)[0])
    slopes = [np.abs(g) for g in tape.gradient(first, leaves) if g is not None]
    return (max(np.max(s[rows], initial=0) for s in slopes) for rows in (np.s_[:1], np.s_[1:]))
