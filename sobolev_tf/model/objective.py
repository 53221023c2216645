"""What `compile` was told of each term of equation 1: its loss l_j, its weight w_j, its parts'."""

import numpy as np
import tensorflow as tf

from sobolev_tf import losses
from sobolev_tf.model import labels


class Objective:
    """The losses and weights of all terms by name; a term that either leaves out is None.

    >>> objective = Objective(order=1, loss="mse", loss_weights=[1.0, 2.0])
    >>> float(objective.term("value", tf.zeros([2, 1]), tf.ones([2, 1])))
    1.0
    >>> float(objective.weight("d1", step=0))
    2.0
    """

    def __init__(self, order, loss=None, loss_weights=None, component_weights=None, missing=None):
        chosen = labels.per_order(loss, order, losses.SquaredNorm(), "loss")
        self.losses = {name: each and losses.resolve(each) for name, each in chosen.items()}
        # Norms compare numbers; any other loss of values may take class numbers.
        self.classes = not isinstance(self.losses["value"], losses.NORMS)
        self.weights = labels.loss_weights(loss_weights, order)
        self.missing = missing
        self.components = component_weights
        self.rms = component_weights == "rms"
        if isinstance(component_weights, dict):
            labels.by_name(component_weights, order, "component_weights")
            self.components = {n: np.asarray(w) for n, w in component_weights.items()}
        elif component_weights not in (None, "rms"):
            raise ValueError(
                'component_weights is None, "rms", or a dict of arrays by name of order, got '
                f"{component_weights!r}."
            )

    def takes(self, name) -> bool:
        return self.losses[name] is not None and self.weights[name] is not None

    def weight(self, name, step):
        """w_j at a training step."""
        weight = self.weights[name]
        return weight(step) if callable(weight) else weight

    def term(self, name, true, predicted, weight=None):
        """l_j of labels and predictions [B,...], averaged over the batch."""
        components = self._components(name, predicted.shape[1:])
        if components is not None:
            if not true.dtype.is_floating and true.shape != predicted.shape:
                raise ValueError(f"component_weights of {name} do not go with class numbers.")
            components = tf.cast(components, predicted.dtype)
            true, predicted = tf.cast(true, predicted.dtype) * components, predicted * components
        if self.missing == "nan":
            true, predicted, weight = labels.leave_missing_out(true, predicted, weight)
        return losses.batch_mean(losses.per_example(self.losses[name], true, predicted), weight)

    def balance(self, sizes: dict | None):
        """Settles "rms": one over the size of every component of the labels, where it is known."""
        if self.rms and sizes is not None:
            self.components = {name: 1 / size for name, size in sizes.items()}

    def config(self):
        """The component weights for a saved model: settled, or what was asked for."""
        if isinstance(self.components, dict):
            return {name: weights.tolist() for name, weights in self.components.items()}
        return self.components

    def _components(self, name, shape):
        if self.components == "rms":
            raise ValueError('component_weights="rms" needs the labels\' sizes: call adapt first.')
        components = (self.components or {}).get(name)
        if components is None or components.shape == tuple(shape):
            return components
        if shape[0] == 1 and components.shape == tuple(shape[1:]):
            return components[None]
        raise ValueError(
            f"component_weights of {name} have shape {list(components.shape)}, expected "
            f"{list(shape)}: one for each component, without the batch."
        )
