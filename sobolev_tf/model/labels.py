"""Labels: the forms that `y` may have, and the one form that is used inside the library.

Labels are a tuple (value, d1, ..., dJ), or a dict of those names; any of them may be absent. D^j
is [B,*out,*in × j]. If the network has one output, [B,1], labels may leave its axis out. Integers
in the shape of a value are numbers; integers of another shape are class numbers, for sparse losses.

A dict may also hold derivatives along directions that come with it: `jvp`, Df[v], with
`directions` v [B,*in] or [B,P,*in]; `vjp`, the gradient of <f, u>, with `directions` u [B,*out]
or [B,P,*out]; from order 2 on `hvp`, the Hessian-vector product D²f[v] [B,*out,*in] or
[B,P,*out,*in], with `directions` v as for `jvp`; or several, with `directions` a dict of these
names.

`normalize` turns all of these into a dict in the order value, d1, ..., dJ, jvp, vjp, hvp,
directions; `read_batch` does so for one batch of a data set.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from sobolev_tf.keras_support import calls
from sobolev_tf.model import sample_weights

DIRECTIONAL = ("jvp", "vjp", "hvp")

# What labels are called elsewhere.
_ALSO_CALLED = {
    "value": ("y", "f", "label", "labels", "target", "values"),
    "d1": calls.DERIVATIVES,
    "d2": ("d2y", "ddy", "hess", "hessian"),
}


class Batch(NamedTuple):
    """A batch whose labels, directions and weights are dicts by name of term."""

    x: Any
    labels: dict[str, Any]
    directions: dict[str, Any]
    weights: dict[str, Any]


def names(order: int) -> list[str]:
    """Return the names of the labels up to an order.

    >>> names(2)
    ['value', 'd1', 'd2']
    """
    return ["value", *(f"d{j}" for j in range(1, order + 1))]


def all_terms(order: int) -> list[str]:
    """Return the names of all terms that a model of an order may compare.

    >>> all_terms(1)
    ['value', 'd1', 'jvp', 'vjp']
    >>> all_terms(2)
    ['value', 'd1', 'd2', 'jvp', 'vjp', 'hvp']
    """
    return [*names(order), *DIRECTIONAL[: 3 if order > 1 else 2]]


def order_of(name: str) -> int:
    """Return j for "dj"; 0 for "value", and for derivatives along directions.

    >>> order_of("value"), order_of("d2"), order_of("jvp")
    (0, 2, 0)
    """
    return int(name[1:]) if name[1:].isdigit() else 0


def term_of(name: str) -> str:
    """Return the term of a label or weight from what errors call it.

    >>> term_of("label d1['a']"), term_of("sample_weight of d1")
    ('d1', 'd1')
    """
    for what in ("label ", "directions of ", "sample_weight of "):
        name = name.removeprefix(what)
    return name.partition("[")[0]


def by_name(y: Any, order: int, what: str = "y", extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the entries of `y` by name of term, without those that are absent (None or left out).

    Args:
      y: an array (the value's), a list or tuple in the order value, d1, ..., or a dict by name.
      order: J, the highest order that the model compares.
      what: how an error names `y`.
      extra: further names that a dict may hold; they are left out of the result.

    Returns:
      A dict in the order value, d1, ..., dJ, jvp, vjp, hvp.

    Raises:
      ValueError: for an unknown name, or more entries than orders.

    Example:

    >>> list(by_name({"d1": 2, "value": 1}, order=1)), by_name((None, 2), order=1)
    (['value', 'd1'], {'d1': 2})
    """
    known = names(order)
    if y is None:
        return {}
    if isinstance(y, list | tuple):
        if len(y) > len(known):
            if what == "y" and all(isinstance(entry, list | tuple | float) for entry in y):
                raise ValueError(f"{what} is a list of {len(y)} rows: pass np.asarray({what}).")
            raise ValueError(
                f"{what} has {len(y)} entries, but order={order} takes at most {len(known)} "
                f"({', '.join(known)}): raise the model's order or give fewer."
            )
        y = dict(zip(known, y, strict=False))
    if not isinstance(y, dict):
        y = {"value": y}
    known = all_terms(order)
    refuse_unknown(what, y, known, extra, f"order={order} knows {', '.join(known)}")
    return {name: y[name] for name in known if y.get(name) is not None}


def refuse_unknown(
    what: str, given: Iterable, known: Sequence[str], extra: Sequence[str], takes: str
) -> None:
    """Refuse a name that is not known, and suggest the nearest one.

    Args:
      what: how an error names what has the names.
      given: names.
      known: those that are taken.
      extra: further ones that are.
      takes: the part of the error that says which are taken.

    Raises:
      ValueError: names the first that is not known.

    Example:

    >>> refuse_unknown("y", ["value", "dy"], ["value", "d1"], [], "labels are value and d1")
    Traceback (most recent call last):
    ValueError: y has the unknown name 'dy': labels are value and d1; did you mean 'd1'?
    """
    for name in given:
        if name in known or name in extra:
            continue
        advice = "."
        if name in ("d2", "hvp") and "d1" in known:
            advice = f"; {name} needs order=2."
        elif near := _nearest(str(name), [*known, *extra]):
            advice = f"; did you mean {near!r}?"
        raise ValueError(f"{what} has the unknown name {name!r}: {takes}{advice}")


def _nearest(name: str, known: list[str]) -> str | None:
    """The label that a name is most likely meant for; None if there is none."""
    meant = [label for label, others in _ALSO_CALLED.items() if name.lower() in others]
    meant = meant or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return meant[0] if meant and meant[0] in known else None


def normalize(y: Any, order: int) -> dict[str, Any]:
    """Return labels as a dict by name, with "directions" as a dict by name if there are any.

    Its own result passes unchanged.

    Raises:
      ValueError: for an unknown name, too many entries, directions that are absent, or that
        belong to no label.

    Example:

    >>> normalize({"jvp": 1, "directions": 2}, order=1)
    {'jvp': 1, 'directions': {'jvp': 2}}
    """
    labels = by_name(y, order, extra=("directions",))
    if directions := _directions_by_name(y):
        labels["directions"] = directions
    return labels


def as_batch(x: Any, y: Any, sample_weight: Any, order: int) -> tuple:
    """Return (x, labels) or (x, labels, weights) by name, without None, as a data set holds them.

    One array of weights counts for every term, with labels or from a target.

    Example:

    >>> as_batch(1, (None, 2), None, order=1), as_batch(1, None, 3, order=1)
    ((1, {'d1': 2}), (1, {}, {'value': 3, 'd1': 3, 'jvp': 3, 'vjp': 3}))
    """
    labels = normalize(y, order)
    weights = weights_by_name(sample_weight, order)
    return (x, labels, weights) if weights else (x, labels)


def read_batch(data: Any, order: int) -> Batch:
    """Read a batch (x, y, sample_weight) as Keras holds it, its labels in any form.

    Example:

    >>> read_batch((1, (2, 3)), order=1)
    Batch(x=1, labels={'value': 2, 'd1': 3}, directions={}, weights={})
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    labels = normalize(y, order)
    directions = labels.pop("directions", {})
    return Batch(x, labels, directions, weights_by_name(sample_weight, order))


def weights_by_name(sample_weight: Any, order: int) -> dict[str, Any]:
    """Return weights of examples [B] by name of term; one array counts for all of them.

    Raises:
      ValueError: for weights that are not [B], or unknown names.

    Example:

    >>> weights_by_name(3, order=1)["d1"], weights_by_name((3, None), order=1)
    (3, {'value': 3})
    """
    if (
        isinstance(sample_weight, list | tuple)
        and sample_weight
        and all(map(np.isscalar, sample_weight))
    ):
        raise ValueError(
            "sample_weight is one array [B], or a list of arrays, got a list of numbers: pass "
            "np.asarray(sample_weight)."
        )
    if isinstance(sample_weight, dict | list | tuple) or sample_weight is None:
        weights = by_name(sample_weight, order, "sample_weight", extra=("directions",))
    else:
        weights = dict.fromkeys(all_terms(order), sample_weight)
    for weight in weights.values():
        sample_weights.refuse_wide(weight)
    return weights


def _directions_by_name(y):
    if not isinstance(y, dict):
        return {}
    present = [name for name in DIRECTIONAL if y.get(name) is not None]
    directions = y.get("directions")
    named = directions if isinstance(directions, dict) else {}
    alone = [name for name in named if name not in present]
    if alone or (directions is not None and not present):
        absent = alone[0] if alone else "jvp, vjp or hvp"
        raise ValueError(
            f"y has directions but no {absent}: directions come with the derivatives along them."
        )
    if not present:
        return {}
    if not isinstance(directions, dict):
        directions = dict.fromkeys(present, directions) if len(present) == 1 else {}
    for name in present:
        if directions.get(name) is None:
            form = f", as a dict of {' and '.join(present)}." if len(present) > 1 else "."
            raise ValueError(
                f'y has {name} but no directions for it: give y["directions"], [B,*] or '
                f"[B,P,*]{form}"
            )
    return {name: directions[name] for name in present}
