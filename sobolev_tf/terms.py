"""The terms of equations 1 and 2 for one batch: what the net says, and what is true, by name.

Terms are `value` [B,*out], d1, ..., dJ as the view shows them, and `jvp` [B,P,*out] and `vjp`
[B,P,*in] along directions that came with the labels. All are in the scaled coordinates of
`scaling`, where the net lives.
"""

import tensorflow as tf

from sobolev_tf import jets, labels
from sobolev_tf.scaling import Scaled


def predicted(fn, z, order: int, view, directions: dict) -> dict:
    """What `fn` says at z [B,*in]: its jet as `view` shows it, and along given directions."""
    terms = {}
    if "jvp" in directions:
        value, derivatives = jets.input_jet(fn, z, [directions["jvp"]])
        terms |= {"value": value, "jvp": derivatives[0]}
    if "vjp" in directions:
        value, derivatives = jets.output_jet(fn, z, 1, lambda _: directions["vjp"])
        terms |= {"value": value, "vjp": derivatives[0]}
    if order or not terms:
        value, derivatives = view.jet(fn, z, order)
        terms |= dict(zip(labels.names(order), [value, *derivatives], strict=True))
    # Half precision is compared in float32.
    return {n: tf.cast(t, tf.float32) if t.dtype.size < 4 else t for n, t in terms.items()}


def true(given: dict, said: dict, z, view, scaling, inputs) -> dict:
    """The labels, checked, scaled, and seen as `view` shows the net's own jet."""
    terms, value = {}, said["value"]
    for name, label in given.items():
        if name in labels.DIRECTIONAL:
            label = labels.conform_directional(label, said[name].shape, name)
            label = tf.cast(label, said[name].dtype)
            if scaling.adapted:
                label = scaling.per_value(label) if name == "jvp" else scaling.vjp(label)
            terms[name] = label
            continue
        j = labels.order_of(name)
        expected = [*value.shape, *list(z.shape[1:]) * j]
        if j == 1:
            label = inputs.join(label, len(value.shape) - 1)
        label = labels.conform(label, expected, value.shape[1:], name)
        # Integers among the value labels may be class numbers: their loss decides.
        if j or label.dtype.is_floating or scaling.adapted:
            label = tf.cast(label, value.dtype)
        if scaling.adapted:
            label = scaling.derivative(label, j) if j else scaling.values(label)
        terms[name] = view.label(label, j, z, value)
    return terms


def of_target(target, said: dict, z, order: int, view, scaling) -> dict:
    """A live target's jet, as `view` shows it, in the shapes of what the net said."""
    black_box = hasattr(target, "jet")
    asked = target if black_box else _conforming(target, said["value"])
    value, derivatives = view.jet(Scaled(asked, scaling) if scaling.adapted else asked, z, order)
    terms = dict(zip(labels.names(order), [value, *derivatives], strict=True))
    if black_box:  # whose shapes are known only when it has been asked
        terms = {n: tf.reshape(_as_many(t, said[n]), tf.shape(said[n])) for n, t in terms.items()}
    return {n: tf.cast(t, said[n].dtype) for n, t in terms.items()}


def _as_many(answer, said):
    """The answer, or an error where it has another number of entries than what the net said."""
    message = f"target: the black box answers other shapes than the net's, [B, *{said.shape[1:]}]"
    with tf.control_dependencies(
        [tf.debugging.assert_equal(tf.size(answer), tf.size(said), message)]
    ):
        return tf.identity(answer)


def _conforming(target, value):
    return lambda x: labels.conform(target(x), value.shape, value.shape[1:], "target")


def directions(given, z, value_shape, scaling) -> dict:
    """The directions [B,P,*] that came with `jvp` and `vjp` labels, as directions at z."""
    by_name = labels.directions_by_name(given)
    shapes = {"jvp": z.shape[1:], "vjp": value_shape}
    found = {}
    for name, v in by_name.items():
        v = labels.conform_directions(v, shapes[name], name)
        v = tf.cast(v, z.dtype)
        if scaling.adapted:
            v = scaling.directions(v) if name == "jvp" else scaling.output_directions(v)
        found[name] = v
    return found
