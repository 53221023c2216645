"""The label contract: what `y` and `sample_weight` may be, and what they must look like.

Labels are a tuple (value, d1, ..., dJ) or a dict of those names; any may be absent. D^j is
[B,*out,*in × j]; where the network has one output, [B,1], its axis may be left out of labels.
A dict may also hold derivatives along given directions: `jvp`, Df[v], with `directions` v
[B,*in] or [B,P,*in]; `vjp`, the gradient of <f, u>, with `directions` u [B,*out] or [B,P,*out];
or both, with `directions` a dict of these names.
"""

from numbers import Real

import keras
import numpy as np
import tensorflow as tf


def names(order: int) -> list[str]:
    """The labels' names in their order.

    >>> names(2)
    ['value', 'd1', 'd2']
    """
    return ["value", *(f"d{j}" for j in range(1, order + 1))]


DIRECTIONAL = ("jvp", "vjp")


def by_name(y, order: int, what: str = "y") -> dict:
    """y as a dict in the order value, d1, ..., without what is absent (None or left out).

    Raises ValueError at an unknown name or one label too many.

    >>> list(by_name({"d1": 2, "value": 1}, order=1)), by_name((None, 2), order=1)
    (['value', 'd1'], {'d1': 2})
    """
    known = names(order)
    if y is None:
        return {}
    if isinstance(y, (list, tuple)):
        if len(y) > len(known):
            raise ValueError(
                f"{what} has {len(y)} entries, but order={order} takes at most {len(known)} "
                f"({', '.join(known)}): raise the model's order or give fewer."
            )
        y = dict(zip(known, y, strict=False))
    if not isinstance(y, dict):
        y = {"value": y}
    known += DIRECTIONAL
    if unknown := [
        key for key in y if key not in (*known, *["directions"] * (what in ("y", "sample_weight")))
    ]:
        raise ValueError(
            f"{what} has the unknown name {unknown[0]!r}: order={order} knows {', '.join(known)}."
        )
    return {name: y[name] for name in known if y.get(name) is not None}


def order_of(name: str) -> int:
    """0 for value, j for dj; 0 for what is along given directions.

    >>> order_of("value"), order_of("d2"), order_of("jvp")
    (0, 2, 0)
    """
    return int(name[1:]) if name[1:].isdigit() else 0


def directions_by_name(y) -> dict:
    """The directions of `jvp` and `vjp` labels by those names.

    >>> directions_by_name({"jvp": 1, "directions": 2}), directions_by_name((1, 2))
    ({'jvp': 2}, {})
    """
    present = [name for name in DIRECTIONAL if isinstance(y, dict) and y.get(name) is not None]
    if not present:
        return {}
    directions = y.get("directions")
    if not isinstance(directions, dict):
        directions = dict.fromkeys(present, directions) if len(present) == 1 else {}
    for name in present:
        if directions.get(name) is None:
            raise ValueError(
                f'y has {name} but no directions for it: give y["directions"], [B,*] or [B,P,*]'
                + (", as a dict of jvp and vjp." if len(present) > 1 else ".")
            )
    return {name: directions[name] for name in present}


def conform_directions(v, dims, name: str):
    """Directions of `name` in the shape [B,P,*dims], from that or [B,*dims]; or ValueError.

    >>> conform_directions(tf.zeros([5, 2]), [2], "jvp").shape
    TensorShape([5, 1, 2])
    """
    v = tf.convert_to_tensor(v)
    dims = list(dims)
    if _fits(v.shape[1:], dims):
        return tf.expand_dims(v, 1)
    if len(v.shape) == len(dims) + 2 and _fits(v.shape[2:], dims):
        return v
    raise ValueError(
        f"directions of {name} have shape {list(v.shape)}, expected {_letters(dims)} or "
        f"{_letters(['P', *dims])}."
    )


def conform_directional(label, expected, name: str):
    """A label of `name` in the shape `expected` [B,P,*dims]; P may be left out where it is 1.

    >>> conform_directional(tf.zeros([5]), [None, 1, 1], "jvp").shape
    TensorShape([5, 1, 1])
    """
    label, dims = tf.convert_to_tensor(label), list(expected[1:])
    shorter = [dims] + [dims[1:]] * (dims[0] == 1)
    shorter += [each[:-1] for each in shorter if each[-1:] == [1]]
    if not any(_fits(label.shape[1:], each) for each in shorter):
        raise ValueError(
            f"label {name} has shape {list(label.shape)}, expected {_letters(dims)}: one for each "
            "of its directions."
        )
    return tf.reshape(label, [-1, *dims])


def per_order(given, order: int, default, what: str) -> dict:
    """One entry for each term, from a list (by position), a dict (by name) or one for all.

    None leaves its term out; a term that is not named has the default.

    >>> per_order({"d1": 3.0}, order=1, default=1.0, what="loss_weights")
    {'value': 1.0, 'd1': 3.0, 'jvp': 1.0, 'vjp': 1.0}
    """
    known = names(order)
    terms = dict.fromkeys([*known, *DIRECTIONAL], default)
    if given is None:
        return terms
    if isinstance(given, dict):
        by_name(given, order, what)  # refuses unknown names
        return terms | given
    if not isinstance(given, (list, tuple)):
        return dict.fromkeys(terms, given)
    if len(given) != len(known):
        raise ValueError(
            f"{what} has {len(given)} entries, but order={order} takes {len(known)}: "
            f"{', '.join(known)}, in this order."
        )
    return terms | dict(zip(known, given, strict=True))


def loss_weights(given, order: int) -> dict:
    """A finite number for each term, a function of the step such as a schedule, or None.

    >>> loss_weights([1, None], order=1)["value"]
    1
    """
    if isinstance(given, np.ndarray) and given.ndim < 2:
        given = given.tolist()
    weights = per_order(given, order, 1.0, "loss_weights")
    for name, weight in weights.items():
        number = isinstance(weight, Real)
        if weight is None or callable(weight):
            continue
        if not (number and np.isfinite(weight)):
            got = weight if number else type(weight).__name__
            raise ValueError(
                f"loss_weights has {got} for {name}, expected a finite number, or a function of "
                "the step."
            )
    return weights


def conform(label, expected, outputs, name: str, classes: bool = False):
    """label in the shape `expected` [B,*out,*in × j], or ValueError; `outputs` is out.

    classes: integer value labels of another shape pass unchanged, for Keras's sparse losses.

    >>> conform(tf.zeros([5, 2]), [None, 1, 2], [1], "d1").shape
    TensorShape([5, 1, 2])
    >>> conform(tf.zeros([5, 3]), [None, 1, 2], [1], "d1")
    Traceback (most recent call last):
    ValueError: label d1 has shape [5, 3], expected [B, 1, 2] or [B, 2]: labels come in the \
order value, d1, ..., with the axes batch, outputs, inputs.
    """
    label = tf.convert_to_tensor(label)
    dims, short = list(expected[1:]), list(expected[2:])
    numbers = classes and name == "value" and label.dtype.is_integer
    if numbers and list(outputs) not in ([], [1]):
        return label
    if label.shape.rank is None:  # known at run time alone
        label = tf.reshape(label, [tf.shape(label)[0], *dims])
    if _fits(label.shape[1:], dims):
        return label
    if list(outputs) == [1] and _fits(label.shape[1:], short):
        return tf.expand_dims(label, 1)
    wanted = _letters(dims) + (f" or {_letters(short)}" if list(outputs) == [1] else "")
    raise ValueError(
        f"label {name} has shape {list(label.shape)}, expected {wanted}: labels come in the "
        "order value, d1, ..., with the axes batch, outputs, inputs."
    )


def weights_by_name(sample_weight, order: int) -> dict:
    """Per-example weights [B] by name of order: one array counts for all of them.

    >>> weights_by_name(3, order=1)["d1"], weights_by_name((3, None), order=1)
    (3, {'value': 3})
    """
    if isinstance(sample_weight, (dict, list, tuple)) or sample_weight is None:
        weights = by_name(sample_weight, order, "sample_weight")
        return {name: _refuse_wide(weight) for name, weight in weights.items()}
    _refuse_wide(sample_weight)
    return dict.fromkeys([*names(order), *DIRECTIONAL], sample_weight)


def weights_like(y, sample_weight, order: int):
    """Weights in a dict as Keras asks for them: in y's structure, 1 where they name nothing.

    >>> y = np.zeros([2, 1]), np.zeros([2, 1, 3])
    >>> [w.tolist() for w in weights_like(y, {"d1": np.array([2.0, 3.0])}, order=1)]
    [[1.0, 1.0], [2.0, 3.0]]
    """
    if not isinstance(sample_weight, dict) or not isinstance(y, dict | list | tuple):
        return sample_weight
    weights = weights_by_name(sample_weight, order)
    named = list(y) if isinstance(y, dict) else names(order)[: len(y)]
    entries = y.values() if isinstance(y, dict) else y
    found = [
        keras.tree.map_structure(
            lambda a, name=name: weights.get(name, np.ones(len(a), "float32")), entry
        )
        for name, entry in zip(named, entries, strict=True)
    ]
    return dict(zip(named, found, strict=True)) if isinstance(y, dict) else tuple(found)


def _refuse_wide(weight):
    shape = getattr(weight, "shape", ())
    if len(shape) > 2 or (len(shape) == 2 and shape[1] not in (None, 1)):
        raise ValueError(
            f"sample_weight has shape {list(shape)}, expected [B]: data is (x, y, sample_weight); "
            "derivatives belong to the labels, (x, (y, dy))."
        )
    return weight


def structured(x, y, sample_weight, order: int) -> tuple:
    """(x, y, sample_weight) without entries that are None, as a data set holds them.

    >>> structured(1, (None, 2), None, order=1), structured(1, None, 3, order=1)
    ((1, {'d1': 2}), (1, {}, {'value': 3, 'd1': 3, 'jvp': 3, 'vjp': 3}))
    """
    named = by_name(y, order)
    if isinstance(y, dict) and y.get("directions") is not None:
        named["directions"] = y["directions"]
    weights = weights_by_name(sample_weight, order)
    return (x, named, weights) if weights else (x, named)


def leave_missing_out(label, prediction, weight=None):
    """(label, prediction, weight [B]) in which NaN entries of the label count nothing.

    A missing entry becomes 0 on both sides, before anything is subtracted: it has no error, no
    gradient and no part in norms. Rows without any entry get weight 0, for losses that do not
    vanish there.

    >>> given, predicted = tf.constant([[np.nan, 1.0]]), tf.constant([[5.0, 6.0]])
    >>> [t.numpy().tolist() for t in leave_missing_out(given, predicted)]
    [[[0.0, 1.0]], [[0.0, 6.0]], [1.0]]
    """
    if not label.dtype.is_floating:
        return label, prediction, weight
    label = tf.cast(label, prediction.dtype)
    missing = tf.math.is_nan(label)
    present = tf.reduce_any(~missing, list(range(1, len(label.shape))))
    label, prediction = (tf.where(missing, tf.zeros_like(t), t) for t in (label, prediction))
    present = tf.cast(present, prediction.dtype)
    if weight is not None:
        present *= tf.reshape(tf.cast(weight, prediction.dtype), [-1])
    return label, prediction, present


def observed(label, prediction, weight=None):
    """(label, prediction, weight) of the rows whose label is there as a whole.

    >>> given = tf.constant([[np.nan], [1.0]])
    >>> [t.numpy().tolist() for t in observed(given, tf.zeros([2, 1]))[:2]]
    [[[1.0]], [[0.0]]]
    """
    if not label.dtype.is_floating:
        return label, prediction, weight
    whole = ~tf.reduce_any(tf.math.is_nan(label), list(range(1, len(label.shape))))
    rows = [None if t is None else tf.boolean_mask(t, whole) for t in (label, prediction, weight)]
    return tuple(rows)


def merge(true, predicted, weight=None):
    """[B,P,...] -> [B·P,...] of both, so that each projection counts as an example.

    >>> [t.shape[0] for t in merge(tf.zeros([2, 3, 4]), tf.zeros([2, 3, 4]), tf.ones([2]))]
    [6, 6, 6]
    """
    if weight is not None:
        weight = tf.repeat(tf.reshape(weight, [-1]), tf.shape(predicted)[1])
    return (*(tf.reshape(t, [-1, *t.shape[2:]]) for t in (true, predicted)), weight)


def refuse_nan(y, order: int, start: int = 0) -> None:
    """ValueError that names the first NaN in labels: which order, which row (from 0).

    Runs on the host, since XLA drops asserts.

    >>> refuse_nan((np.array([0.0]), np.array([np.nan])), order=1)
    Traceback (most recent call last):
    ValueError: label d1 has NaN, first in row 0: mend it, or compile(missing="nan") to leave \
such entries out.
    """
    given = by_name(y, order)
    entries = [
        (name, np.asarray(entry))
        for name, label in given.items()
        for entry in (label.values() if isinstance(label, dict) else [label])
    ]
    for name, label in entries:
        if label.dtype.kind == "f" and (missing := np.isnan(label)).any():
            rows = missing.reshape(len(label), -1).any(axis=1)
            raise ValueError(
                f"label {name} has NaN, first in row {start + int(np.argmax(rows))}: mend it, "
                'or compile(missing="nan") to leave such entries out.'
            )


def refuse_nan_in(dataset, order: int) -> None:
    """`refuse_nan` for a dataset of batches (x, y, ...); reads up to the first NaN."""
    start = 0
    for batch in dataset:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        refuse_nan(y, order, start)
        start += len(tf.nest.flatten(x)[0])


def _fits(shape, dims):
    return len(shape) == len(dims) and all(
        a is None or b is None or a == b for a, b in zip(shape, dims, strict=True)
    )


def _letters(dims):
    return "[" + ", ".join(["B", *("?" if d is None else str(d) for d in dims)]) + "]"
