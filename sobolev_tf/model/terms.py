"""The terms of equations 1 and 2 for one batch, by name: predicted ones, labels, a target's.

Terms are `value` [B,*out], d1, ..., dJ of the kind that is compared, and `jvp` [B,P,*out], `vjp`
[B,P,*in] and `hvp` [B,P,*out,*in] along directions that came with the labels. All are between the
z-scores of `scaling`, where the net lives.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from sobolev_tf import jets
from sobolev_tf.jets import arguments, contractions
from sobolev_tf.model import labels
from sobolev_tf.model.class_numbers import are_class_numbers
from sobolev_tf.model.inputs import Inputs
from sobolev_tf.model.label_shapes import fit_directional_shape, fit_directions, fit_shape
from sobolev_tf.model.scaled_target import scale_target
from sobolev_tf.model.scaling import Scaling
from sobolev_tf.projections import FullDerivatives, ProjectedDerivatives, Projection

Terms = dict[str, tf.Tensor]


class Comparison(NamedTuple):
    """Labels and predictions of one batch, by name of term, in z-scores.

    Attributes:
      x: the net's inputs, as tensors.
      labels, predicted: terms [B,...].
      weights: weights of the examples, [B], by name of term; a name that is absent has weight 1.
      shares: of labels that a term is a mean over, by name, where these rows do not tell them.
    """

    x: Any
    labels: Terms
    predicted: Terms
    weights: Terms
    shares: Terms | None = None

    def fold_projections(self, derivatives: bool) -> "Comparison":
        """Fold projections into the batch, [B,P,...] -> [B·P,...]; each is an example then.

        Weights are repeated with their examples.

        Args:
          derivatives: whether d1, ..., dJ have an axis of projections; jvp, vjp and hvp always do.
        """
        folded = self._replace(
            labels=dict(self.labels), predicted=dict(self.predicted), weights=dict(self.weights)
        )
        for name in self.labels:
            if name not in labels.DIRECTIONAL and not (derivatives and name != "value"):
                continue
            weight = self.weights.get(name)
            if weight is not None:
                projections = tf.shape(self.predicted[name])[1]
                folded.weights[name] = tf.repeat(tf.reshape(weight, [-1]), projections)
            folded.labels[name] = fold_projections(self.labels[name])
            folded.predicted[name] = fold_projections(self.predicted[name])
        return folded

    def unscaled_terms(
        self, scaling: Scaling, projection: Projection | None
    ) -> Iterator[tuple[str, tf.Tensor, tf.Tensor, tf.Tensor | None]]:
        """Yield (name, label, predicted, weight) of terms in the user's units, for metrics."""
        for name, label in self.labels.items():
            label, predicted = (
                unscale_term(name, t, scaling, projection) for t in (label, self.predicted[name])
            )
            yield name, label, predicted, self.weights.get(name)


def batch_size(x: Any) -> tf.Tensor:
    """Return B of the net's inputs x, in any structure."""
    return tf.shape(tf.nest.flatten(x)[0])[0]


def fold_projections(t: tf.Tensor) -> tf.Tensor:
    """Fold projections into the batch: [B,P,...] -> [B·P,...].

    >>> fold_projections(tf.zeros([2, 3, 4])).shape
    TensorShape([6, 4])
    """
    return tf.reshape(t, [-1, *t.shape[2:]])


def predicted_terms(
    fn: Callable,
    z: tf.Tensor,
    order: int,
    kind: FullDerivatives | ProjectedDerivatives,
    directions: dict[str, tf.Tensor],
) -> Terms:
    """Compute the terms of `fn` at z [B,*in]: its jet of one kind, and along directions.

    `fn` runs once; under a projection, once more for each kind of directions. Only the last run
    changes the state of layers: moving averages, and seeds of dropout.

    Args:
      fn: from z [B,*in] to [B,*out].
      z: points in z-scores.
      order: the highest order that is compared.
      kind: of derivatives: `FullDerivatives`, or `ProjectedDerivatives` of one step.
      directions: "jvp" and "hvp" [B,P,*in] and "vjp" [B,P,*out], as `scale_directions` gives
        them.

    Returns:
      Terms by name, in float32 or wider.
    """
    full = order and isinstance(kind, FullDerivatives)
    runs: list[Callable[[], Terms]] = []
    if order or not directions:
        runs.append(lambda: _of_jet(kind.jet(fn, z, order)))
    if "jvp" in directions and not full:
        runs.append(lambda: _along_inputs(fn, z, directions["jvp"]))
    if "vjp" in directions and not full:
        runs.append(lambda: _along_outputs(fn, z, directions["vjp"]))
    if "hvp" in directions and not (full and order > 1):
        runs.append(lambda: _curvatures(fn, z, directions["hvp"]))
    terms: Terms = {}
    for run in runs[:-1]:
        with keras.StatelessScope():  # layers' state moves once, and all runs drop the same units
            terms |= run()
    terms |= runs[-1]()
    if "jvp" in directions and full:
        terms["jvp"] = contractions.contract_inputs(terms["d1"], [directions["jvp"]])
    if "vjp" in directions and full:
        terms["vjp"] = contractions.contract_outputs(terms["d1"], directions["vjp"])
    if "hvp" in directions and full and order > 1:
        terms["hvp"] = contractions.contract_inputs(terms["d2"], [directions["hvp"]], 2)
    return {name: jets.at_least_float32(term) for name, term in terms.items()}


def _of_jet(jet):
    return dict(zip(labels.names(len(jet.derivatives)), [jet.value, *jet.derivatives], strict=True))


def _along_inputs(fn, z, v):
    value, [products] = jets.directional_jet(fn, z, [v])
    return {"value": value, "jvp": products}


def _along_outputs(fn, z, u):
    value, [products] = jets.projected_jet(fn, z, 1, lambda _: u)
    return {"value": value, "vjp": products}


def _curvatures(fn, z, v):
    value, [_, products] = jets.partial_jet(fn, z, v, 2)
    return {"value": value, "hvp": products}


def label_terms(
    y: dict[str, Any],
    predicted: Terms,
    z: tf.Tensor,
    kind: FullDerivatives | ProjectedDerivatives,
    scaling: Scaling,
    inputs: Inputs,
    classes: bool,
) -> Terms:
    """Check and scale labels, and give them the kind of the net's own jet.

    Args:
      y: labels by name, in the user's units.
      predicted: as `predicted_terms` gives them.
      z, kind: as for `predicted_terms`.
      scaling: the `Scaling` between.
      inputs: joins labels that come input by input.
      classes: the value's loss may take class numbers; they pass unchanged.

    Returns:
      Terms by name, in the shapes of the predicted ones.

    Raises:
      ValueError: for a label of another shape.
    """
    terms, value = {}, predicted["value"]
    for name, label in y.items():
        if name in labels.DIRECTIONAL:
            output = 0 if name == "hvp" else -1
            label = fit_directional_shape(label, predicted[name].shape, name, output)
            terms[name] = _scale_directional(name, tf.cast(label, predicted[name].dtype), scaling)
            continue
        j = labels.order_of(name)
        if j:
            label = inputs.join(label, len(value.shape) - 1, j)
        expected = [*value.shape, *list(z.shape[1:]) * j]
        label = fit_shape(label, expected, value.shape[1:], name, classes)
        if j or not are_class_numbers(label, value.shape[1:]):
            label = tf.cast(label, value.dtype)
            label = scaling.scale_derivative(label, j) if j else scaling.scale_y(label)
        terms[name] = kind.label(label, j, z, value)
    return terms


def target_terms(
    target: Callable,
    predicted: Terms,
    z: tf.Tensor,
    order: int,
    kind: FullDerivatives | ProjectedDerivatives,
    scaling: Scaling,
) -> Terms:
    """Compute a target's jet at z, of one kind, in the shapes of the predicted terms.

    Args:
      target: from x [B,*in] to [B,*out], in the user's units; with a jet of its own, or not.
      predicted, z, order, kind, scaling: as for `label_terms`.

    Raises:
      ValueError: the target has other outputs than the net.
    """
    if not hasattr(target, "jet"):
        target = _fitting(target, predicted["value"], order > 0)
    value, derivatives = kind.jet(scale_target(target, scaling), z, order)
    terms = dict(zip(labels.names(order), [value, *derivatives], strict=True))
    return {name: tf.cast(term, predicted[name].dtype) for name, term in terms.items()}


def unscale_term(
    name: str, term: tf.Tensor, scaling: Scaling, projection: Projection | None
) -> tf.Tensor:
    """Return a term in the user's units, for metrics.

    The inputs of an output projection's gradients have units, but its outputs are mixed: such a
    term stays as it is.

    Args:
      name: the term's.
      term: [B,...] or, with its projections folded, [B·P,...].
      scaling: the `Scaling` between.
      projection: the model's.
    """
    j = labels.order_of(name)
    if name == "vjp":
        return scaling.unscale_vjp(term)
    if name == "jvp":
        return scaling.unscale_jvp(term)
    if name == "hvp":  # one axis of inputs is contracted with v
        return scaling.unscale_derivative(term, 1)
    if j and projection:
        if projection.side == "output":
            return term
        if projection.contraction == "first":
            return scaling.unscale_derivative(term, j - 1)
        return scaling.unscale_jvp(term)
    if j:
        return scaling.unscale_derivative(term, j)
    return scaling.unscale_y(term) if term.dtype.is_floating else term


def entries(name: str, outputs: int, inputs: int, projection: Projection | None) -> int:
    """Count the entries of an example's term, of each direction.

    Args:
      name: the term's.
      outputs, inputs: K and D.
      projection: the model's.

    Example:

    >>> entries("d1", 2, 3, None), entries("d1", 2, 3, Projection("output"))
    (6, 3)
    """
    j = labels.order_of(name)
    if not j:
        return {"vjp": inputs, "hvp": outputs * inputs}.get(name, outputs)
    if projection is None:
        return outputs * inputs**j
    if projection.side == "output":
        return int(inputs**j)
    return outputs * inputs ** (j - 1) if projection.contraction == "first" else outputs


def scale_directions(
    directions: dict[str, Any], z: tf.Tensor, outputs: tuple, scaling: Scaling
) -> dict[str, tf.Tensor]:
    """Check the directions that came with labels, and return them as directions at z.

    Args:
      directions: "jvp" and "hvp" [B,*in] or [B,P,*in], "vjp" [B,*out] or [B,P,*out], in the
        user's units.
      z: points [B,*in].
      outputs: *out.
      scaling: the `Scaling` between.

    Returns:
      "jvp" and "hvp" [B,P,*in], "vjp" [B,P,*out].

    Raises:
      ValueError: for directions of another shape.
    """
    scaled: dict[str, tf.Tensor] = {}
    for name in ("jvp", "hvp"):
        if name in directions:
            v = tf.cast(fit_directions(directions[name], z.shape[1:], name), z.dtype)
            scaled[name] = scaling.scale_directions(v)
    if "vjp" in directions:
        u = tf.cast(fit_directions(directions["vjp"], outputs, "vjp"), z.dtype)
        scaled["vjp"] = scaling.scale_output_directions(u)
    return scaled


def _scale_directional(name, label, scaling):
    if name == "hvp":  # one axis of inputs is contracted with v
        return scaling.scale_derivative(label, 1)
    return scaling.scale_jvp(label) if name == "jvp" else scaling.scale_vjp(label)


def _fitting(target, value, differentiated):
    """The target, its answer in the shape of the net's value [B,*out]."""

    def fitted(x):
        answer = arguments.answer("target", target, x, differentiated)
        try:
            return fit_shape(answer, value.shape, value.shape[1:], "target")
        except ValueError:
            raise ValueError(
                f"the target answers {list(answer.shape)}, the net {list(value.shape)}: they need "
                "the same outputs."
            ) from None

    return fitted
