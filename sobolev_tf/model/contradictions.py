"""Labels of one call that contradict each other: one warning, with the first row."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from sobolev_tf import warn
from sobolev_tf.keras_support import arrays
from sobolev_tf.model import labels

_ROWS = 4096  # that are checked at a time
_TOLERANCES = {2: 5e-2, 4: 1e-3, 8: 1e-5}  # relative to the entries' size, by bytes of a number
_FULL = {"jvp": "d1", "vjp": "d1", "hvp": "d2"}  # the derivative that is contracted
_FORMULAS = {"jvp": "bkn,bpn->bpk", "vjp": "bkn,bpk->bpn", "hvp": "bknm,bpm->bpkn"}


def warn_of_contradictions(model: Any, caller: str, y: dict[str, Any]) -> None:
    """Warn if Hessians are not symmetric, or d1 and d2 are not what jvp, vjp and hvp say.

    NaN entries are ignored. Noise that a Hessian's two halves share is none of this.

    Args:
      model: an `EquationModel`, which is warned about once for each label.
      caller: the method that the warning names.
      y: labels by name as `labels.normalize` gives them, arrays.
    """
    inputs, outputs = model.equation.inputs, model.equation.output_dims
    if not model.built:
        return
    y = {name: label for name, label in y.items() if label is not None}
    joined = {}
    for name in y:
        if (j := labels.order_of(name)) and f"contradiction of {name}" not in model.warned:
            label = inputs.join(y[name], len(outputs), j)
            if arrays.is_array(label) and (number := arrays.on_host(label)) is not None:
                joined[name] = number
    dims = tuple(model.scaling.mean.shape)
    for name, label in joined.items():
        j, n = labels.order_of(name), int(np.prod(dims, dtype=int))
        if j > 1 and label.dtype.kind == "f" and label[0].size % n**j == 0:
            row = _first(_asymmetry(label.reshape([len(label), -1, *[n] * j]), j))
            if row is not None:
                _warn(model, caller, name, f"is not symmetric, first in row {row}")
    for name in labels.DIRECTIONAL:
        full = _FULL[name]
        if name in y and full in joined and f"contradiction of {name}" not in model.warned:
            numbers = (arrays.on_host(y[name]), arrays.on_host(y["directions"][name]))
            try:
                row = _first(_disagreement(name, joined[full], *numbers, dims, outputs))
            except ValueError:  # another shape, which the step reports
                return
            if row is not None:
                _warn(
                    model, caller, name, f"is not {full} along its directions, first in row {row}"
                )


def _asymmetry(label, j) -> Iterator[np.ndarray]:
    """Whether rows [B,K,n × j] differ from themselves with two arguments exchanged."""
    tolerance, usual = _TOLERANCES[min(8, label.dtype.itemsize)], _usual(label)
    for part in _pieces(label):
        size = np.maximum(_largest(part), usual)
        wrong = np.zeros(len(part), bool)
        for axis in range(j - 1):
            difference = part - np.swapaxes(part, 2 + axis, 3 + axis)
            wrong |= _largest(difference) > tolerance * size
        yield wrong


def _disagreement(name, full, along, v, dims, outputs) -> Iterator[np.ndarray]:
    """Whether rows of jvp, vjp or hvp differ from d1 [B,K,n], d2 [B,K,n,n], along directions v."""
    n, k = (int(np.prod(sizes, dtype=int)) for sizes in (dims, outputs))
    sizes = [array.dtype.itemsize for array in (full, along, v) if array.dtype.kind == "f"]
    tolerance = _TOLERANCES[min([8, *sizes])]
    full = full.reshape([len(full), k, *[n] * labels.order_of(_FULL[name])])
    v = v.reshape([len(v), -1, k if name == "vjp" else n])
    along = along.reshape([len(along), v.shape[1], -1])
    usual = _usual(full)
    for part, product, direction in zip(*map(_pieces, (full, along, v)), strict=True):
        size = np.maximum(_largest(part), usual) * _largest(direction) * part.shape[-1]
        expected = np.einsum(_FORMULAS[name], part, direction)
        difference = expected.reshape(product.shape) - product
        yield _largest(difference) > tolerance * size


def _usual(array):
    """The typical size of an entry: rounding in a row of zeros is no contradiction."""
    sizes = np.abs(array[: 16 * _ROWS])
    return float(np.nanmean(sizes)) if np.isfinite(sizes).any() else 0.0


def _largest(part):
    """The largest entry of each row; unknown ones are ignored."""
    sizes = np.abs(part.reshape(len(part), -1))
    return np.where(np.isnan(sizes), 0, sizes).max(axis=1, initial=0)


def _pieces(array):
    return (array[i : i + _ROWS] for i in range(0, len(array), _ROWS))


def _first(wrong_rows):
    """The number of the first row that is wrong, or None."""
    rows = itertools.chain.from_iterable(wrong_rows)
    return next((row for row, wrong in enumerate(rows) if wrong), None)


def _warn(model, caller, name, what):
    model.warned.add(f"contradiction of {name}")
    warn.at_users_line(
        f"{caller}: label {name} {what}: labels that contradict each other are learned as their "
        "mean; look at the order of axes, signs and units."
    )
