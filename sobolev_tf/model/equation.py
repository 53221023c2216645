"""Equations 1 and 2 for one batch: the net's predictions, and what they are compared with."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import jets, targets
from sobolev_tf.keras_support.shapes import batch_shape
from sobolev_tf.model import labels, terms
from sobolev_tf.model.inputs import Inputs
from sobolev_tf.model.label_shapes import fit_shape
from sobolev_tf.model.missing import refuse_keras_mask
from sobolev_tf.model.scaling import Scaling, UnscaledFunction
from sobolev_tf.projections import FullDerivatives, ProjectedDerivatives, known_components


class Equation:
    """A net with its inputs and its scaling, and the terms that it is trained on.

    `scaling` converts between the user's units and those of the net; it is the identity until
    `SobolevModel.adapt`. Subclasses may change net, target and labels, as `PolicyEquation` does.

    Args:
      net: a Keras model x [B,*in] -> [B,*out].
      order: J, the highest order of derivatives.
      wrt: the inputs to differentiate, see `Inputs`.

    Attributes:
      masked: whether values may be minus infinity, the logit of a masked action.
    """

    masked: bool = False

    def __init__(self, net: keras.Model, order: int, wrt: str | list[str] | None = None) -> None:
        self.net, self.order = net, order
        self.inputs, self.scaling = Inputs(net, wrt), Scaling()
        self.output_dims: tuple = ()
        self._input_shape: Any = None

    def build(self, input_shape: Any, owner: str) -> None:
        """Build the net if it is not built yet, and the scaling around it.

        Args:
          input_shape: [B,*in], in the structure of the net's inputs.
          owner: the class that errors name.

        Raises:
          ValueError: for a net of several outputs, or of axes whose size is not known; or if it is
            built for another shape.
        """
        dims, self.output_dims = self.inputs.build(input_shape, owner)
        self._input_shape = input_shape
        dtype = "float64" if self.is_float64() else "float32"  # whatever Keras's global policy
        if not self.scaling.built:
            self.scaling.build((dims, self.output_dims), dtype)
        elif dims != tuple(self.scaling.mean.shape):
            raise ValueError(
                f"{owner} is built for x {batch_shape(self.scaling.mean.shape)} already, and "
                f"cannot be built for {batch_shape(dims)}."
            )

    def is_float64(self) -> bool:
        """Tell whether any layer of the net computes in float64."""
        return self.inputs.is_float64()

    def rounds_x(self) -> bool:
        """Tell whether x loses the digits that float32 cannot hold.

        A float64 net whose keras.Input is float32 rounds what it is given: x, or its z-scores.
        """
        if not self.is_float64():
            return True
        scaled = self.scaling.built and bool(tf.reduce_any(self.scaling.mean != 0))
        return self.inputs.are_rounded() and not scaled

    def cast(self, x: Any) -> Any:
        """Return x as tensors of the net's dtype: derivatives are with respect to these.

        Builds a net that is not built yet, for inputs of these shapes and dtypes.
        """
        x = self.inputs.cast(x)
        if not self.net.built:
            self.net(keras.tree.map_structure(lambda t: keras.KerasTensor(t.shape, t.dtype), x))
        return x

    def net_at(self, x: Any, training: bool | None) -> Callable:
        """Return the net as a function of what is differentiated in x, in z-scores."""
        return self.inputs.at(functools.partial(self.net, training=training), x)

    def target_at(self, target: Callable, x: Any) -> Callable:
        """Return a target as a function of what is differentiated in x, in the user's units."""
        return self.inputs.at(target, x)

    def unscaled_at(self, x: Any, training: bool | None = False) -> UnscaledFunction:
        """Return the net as a function of what is differentiated in x, in the user's units."""
        return UnscaledFunction(self.net_at(x, training), self.scaling)

    def value(self, x: Any, training: bool | None) -> tf.Tensor:
        """Compute values [B,*out] in the user's units."""
        return self.unscaled_at(x, training)(self.inputs.point(x))

    def jet(self, x: Any) -> jets.Jet:
        """Compute values [B,*out] and full derivatives [B,*out,*in × j] in the user's units."""
        return self.unscaled_at(x).jet(self.inputs.point(x), self.order)

    def specs(self) -> list[tf.TensorSpec]:
        """Return TensorSpecs of the inputs that an exported model takes."""
        return self.inputs.specs(self._input_shape)

    def structure(self, tensors: list) -> Any:
        """Return an exported model's inputs, in the order of `specs`, as the net takes them."""
        return self.inputs.structure(tensors, self._input_shape)

    def served(self, tensors: list) -> tuple[UnscaledFunction, tf.Tensor]:
        """Return (f, point) at an exported model's inputs, in the order of `specs`."""
        x = self.structure(tensors)
        return self.unscaled_at(x), self.inputs.point(x)

    def read_batch(self, data: Any) -> labels.Batch:
        """Bring a batch (x, y, sample_weight) into the one form that the rest of the code uses."""
        return labels.read_batch(data, self.order)

    def requested(self, labeled: dict, target: Callable | None, training: bool) -> list[str]:
        """Return the terms to compare: those with labels or, without any, those of the target."""
        return list(labeled) or labels.names(self.order)

    def compare(
        self,
        batch: labels.Batch,
        kind: FullDerivatives | ProjectedDerivatives,
        target: Callable | None,
        classes: bool,
        missing: str | None,
        training: bool,
        only_values: bool = False,
    ) -> terms.Comparison:
        """Compute labels and predictions of a batch by name of term, for one kind of derivatives.

        Nothing is gradient-stopped, except missing labels.

        Args:
          batch: its x is what `cast` returns.
          kind: `FullDerivatives` or `ProjectedDerivatives`.
          target: supplies the labels that the batch does not have, or None.
          classes: the value's loss may take class numbers.
          missing: "nan" if NaN labels are left out; otherwise an output with a mask is refused.
          training: whether layers are in training mode.
          only_values: leaves the derivatives of the batch out.

        Raises:
          ValueError: for labels of another shape, no labels at all, or such a mask.
        """
        x, requested = batch.x, self.requested(batch.labels, target, training)
        if only_values:
            known = {name: label for name, label in batch.labels.items() if name == "value"}
            batch, requested = batch._replace(labels=known, directions={}), ["value"]
            kind = FullDerivatives()  # a projection would draw directions for these rows
        order = max(map(labels.order_of, requested))
        z = self.scaling.scale_x(self.inputs.point(x))
        directions = terms.scale_directions(batch.directions, z, self.output_dims, self.scaling)
        net = self.net_at(x, training)
        net = net if missing == "nan" else refuse_keras_mask(net)
        predicted = terms.predicted_terms(net, z, order, kind, directions)
        true = terms.label_terms(
            batch.labels, predicted, z, kind, self.scaling, self.inputs, classes
        )
        if absent := [name for name in requested if name not in true]:
            if target is None:
                raise ValueError("no labels: give a y, or give the model a target.")
            target = self.target_at(target, x)
            live = terms.target_terms(target, predicted, z, order, kind, self.scaling)
            true |= {name: live[name] for name in absent}
        return terms.Comparison(x, true, predicted, batch.weights)

    def among_known(self, kind: ProjectedDerivatives, batch: labels.Batch) -> ProjectedDerivatives:
        """Restrict a kind of derivatives to the input components for which a batch has derivatives.

        The lowest order decides, since all orders are projected along the same directions.
        """
        point = self.inputs.point(batch.x)
        for name, label in batch.labels.items():
            if j := labels.order_of(name):
                dims = len(point.shape) - 1
                return kind.among(known_components(self.joined(name, label), dims, j))
        return kind

    def joined(self, name: str, label: Any) -> tf.Tensor:
        """Return a label as one tensor, which may have come input by input."""
        if j := labels.order_of(name):
            label = self.inputs.join(label, len(self.output_dims), j)
        return tf.convert_to_tensor(label)

    def full_terms(
        self, x: Any, directions: dict[str, tf.Tensor], order: int, training: bool = False
    ) -> terms.Terms:
        """Compute the net's full terms at x, as `compare` does: by name, in z-scores.

        Args:
          x: as `cast` returns it.
          directions: "jvp" and "hvp" [B,P,*in] and "vjp" [B,P,*out] in the user's units; empty
            for none.
          order: the highest order to compute.
          training: whether layers are in training mode.
        """
        z = self.scaling.scale_x(self.inputs.point(x))
        scaled = terms.scale_directions(directions, z, self.output_dims, self.scaling)
        net = self.net_at(x, training)
        return terms.predicted_terms(net, z, order, FullDerivatives(), scaled)

    def known(
        self, x: Any, y: Any, sample_weight: Any, target: Callable | None, order: int
    ) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return points [B,*in], labels and weights by name of a batch as arrays, for `adapt`.

        Args:
          x: as `cast` returns it.
          y, sample_weight: labels and weights in any form.
          target: supplies labels that y does not have, or None.
          order: the highest order that the target is run for.

        Raises:
          ValueError: for a label of another shape.
        """
        batch = self.read_batch((x, y, sample_weight))
        point, known = self.inputs.point(x), batch.labels
        if not known and target is not None:
            jet = targets.tabulate(self.target_at(target, x), point, order, verbose=0)
            known = dict(zip(labels.names(order), jet, strict=True))
        names = [name for name in labels.names(self.order) if name in known]
        outputs, dims = list(self.output_dims), list(point.shape[1:])
        for name in names:
            order = labels.order_of(name)
            label = known[name]
            if order:
                label = self.inputs.join(label, len(outputs), order)
            expected = [None, *outputs, *dims * order]
            known[name] = fit_shape(label, expected, outputs, name, classes=True)
        weights = {name: np.ravel(weight) for name, weight in batch.weights.items()}
        return point.numpy(), {name: np.asarray(known[name]) for name in names}, weights
