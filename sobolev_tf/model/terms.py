"""The terms of equations 1 and 2 for one batch: what the net says, and what is true, by name.

Terms are `value` [B,*out], d1, ..., dJ as the view shows them, and `jvp` [B,P,*out] and `vjp`
[B,P,*in] along directions that came with the labels. All are in the scaled coordinates of
`scaling`, where the net lives.
"""

import tensorflow as tf

from sobolev_tf import contractions, jets
from sobolev_tf.model import labels
from sobolev_tf.model.scaling import Scaled
from sobolev_tf.projections import FullDerivatives


def predicted(fn, z, order: int, view, directions: dict) -> dict:
    """What `fn` says at z [B,*in]: its jet as `view` shows it, and along given directions.

    `fn` runs once; under a projection, once more for each kind of given directions.
    """
    terms = {}
    whole = order and isinstance(view, FullDerivatives)
    if order or not directions:
        value, derivatives = view.jet(fn, z, order)
        terms |= dict(zip(labels.names(order), [value, *derivatives], strict=True))
    if v := directions.get("jvp"):
        value, [along] = (
            jets.directional_jet(fn, z, v)
            if not whole
            else (value, [contractions.contract_inputs(terms["d1"], v)])
        )
        terms |= {"value": value, "jvp": along}
    if u := directions.get("vjp"):
        value, [along] = (
            jets.projected_jet(fn, z, 1, lambda _: u[0])
            if not whole
            else (value, [contractions.contract_outputs(terms["d1"], u[0])])
        )
        terms |= {"value": value, "vjp": along}
    return {name: jets.at_least_float32(term) for name, term in terms.items()}


def true(given: dict, said: dict, z, view, scaling, inputs, classes: bool) -> dict:
    """The labels, checked, scaled, and seen as `view` shows the net's own jet.

    classes: whether the value's loss takes class numbers; they pass unchanged.
    """
    terms, value = {}, said["value"]
    for name, label in given.items():
        if name in labels.DIRECTIONAL:
            label = labels.conform_directional(label, said[name].shape, name)
            label = tf.cast(label, said[name].dtype)
            terms[name] = scaling.per_value(label) if name == "jvp" else scaling.vjp(label)
            continue
        j = labels.order_of(name)
        if j == 1:
            label = inputs.join(label, len(value.shape) - 1)
        expected = [*value.shape, *list(z.shape[1:]) * j]
        label = labels.conform(label, expected, value.shape[1:], name, classes)
        if j or label.dtype.is_floating or not classes:
            label = tf.cast(label, value.dtype)
            label = scaling.derivative(label, j) if j else scaling.values(label)
        terms[name] = view.label(label, j, z, value)
    return terms


def of_target(target, said: dict, z, order: int, view, scaling) -> dict:
    """A live target's jet, as `view` shows it, in the shapes of what the net said."""
    asked = target if hasattr(target, "jet") else _conforming(target, said["value"])
    value, derivatives = view.jet(Scaled(asked, scaling), z, order)
    terms = dict(zip(labels.names(order), [value, *derivatives], strict=True))
    return {n: tf.cast(t, said[n].dtype) for n, t in terms.items()}


def _conforming(target, value):
    def asked(x):
        answer = tf.convert_to_tensor(target(x))
        try:
            return labels.conform(answer, value.shape, value.shape[1:], "target")
        except ValueError:
            raise ValueError(
                f"the target answers {list(answer.shape)}, the net {list(value.shape)}: they need "
                "the same outputs."
            ) from None

    return asked


def raw(name, t, scaling, projection):
    """A term in raw units, for metrics; the outputs of an output projection have none."""
    j = labels.order_of(name)
    if name == "vjp":
        return scaling.raw_vjp(t)
    if name == "jvp":
        return scaling.raw_per_value(t)
    if j and projection:
        if projection.side == "output":
            return t
        along = projection.contraction == "first"
        return scaling.raw_derivative(t, j - 1) if along else scaling.raw_per_value(t)
    if j:
        return scaling.raw_derivative(t, j)
    return scaling.raw_values(t) if t.dtype.is_floating else t


def directions(given, z, value_shape, scaling) -> dict:
    """The directions [[B,P,*]] that came with `jvp` and `vjp` labels, as directions at z."""
    by_name = labels.directions_by_name(given)
    shapes = {"jvp": z.shape[1:], "vjp": value_shape}
    found = {}
    for name, v in by_name.items():
        v = labels.conform_directions(v, shapes[name], name)
        v = tf.cast(v, z.dtype)
        found[name] = [scaling.directions(v) if name == "jvp" else scaling.output_directions(v)]
    return found
