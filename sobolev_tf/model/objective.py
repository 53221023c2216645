"""The objective of equation 1: the loss l_j, the weight w_j and the component weights of terms."""

from collections.abc import Callable, Iterable, Iterator
from numbers import Real
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import losses, require, row_share
from sobolev_tf.keras_support.class_losses import may_take_class_numbers, over_labels_that_count
from sobolev_tf.model import labels
from sobolev_tf.model.coupled_entries import (
    couples_entries,
    filler,
    refuse_partly_missing,
    without_missing,
)
from sobolev_tf.model.missing import mask_missing, present_share


def per_term(setting: Any, order: int, default: Any, what: str) -> dict[str, Any]:
    """Return one setting for each term, from a list (by position), a dict (by name) or one for all.

    None leaves its term out; a term that is not named gets the default.

    Raises:
      ValueError: for an unknown name, or a list of another length.

    Example:

    >>> per_term({"d1": 3.0}, order=1, default=1.0, what="loss_weights")
    {'value': 1.0, 'd1': 3.0, 'jvp': 1.0, 'vjp': 1.0}
    """
    known = labels.names(order)
    settings = dict.fromkeys(labels.all_terms(order), default)
    if setting is None:
        return settings
    if isinstance(setting, dict):
        labels.by_name(setting, order, what)  # refuses unknown names
        return settings | setting
    if not isinstance(setting, list | tuple):
        return dict.fromkeys(settings, setting)
    if len(setting) != len(known):
        raise ValueError(
            f"{what} has {len(setting)} entries, but order={order} takes {len(known)}: "
            f"{', '.join(known)}, in this order."
        )
    return settings | dict(zip(known, setting, strict=True))


def weights_per_term(weights: Any, order: int) -> dict[str, float | Callable | None]:
    """Return a weight for each term: a finite number, a function of the step, or None.

    Raises:
      ValueError: for anything else, and as `per_term`.

    Example:

    >>> weights_per_term([1, None], order=1)["value"]
    1
    """
    if isinstance(weights, np.ndarray) and weights.ndim < 2:
        weights = weights.tolist()
    by_term = per_term(weights, order, 1.0, "loss_weights")
    for name, weight in by_term.items():
        if weight is None or callable(weight):
            continue
        number = isinstance(weight, Real)
        if not (number and np.isfinite(weight) and weight >= 0):
            got = weight if number else type(weight).__name__
            raise ValueError(
                f"loss_weights has {got} for {name}, expected a finite number of at least 0, or a "
                "function of the step."
            )
    return by_term


class TermLoss(NamedTuple):
    """A term of equation 1 at one batch.

    Attributes:
      name: the term's.
      weight: w_j.
      value: l_j, a scalar.
      share: the share of the batch that l_j is a mean over; None for all of it.
    """

    name: str
    weight: Any
    value: tf.Tensor
    share: tf.Tensor | None


class Objective:
    """The losses and weights of all terms by name; a term that either leaves out is None.

    Args:
      order: J.
      loss, loss_weights, component_weights, missing, mean_over, derivative_share: as for
        `SobolevModel.compile`.

    Example:

    >>> objective = Objective(order=1, loss="mse", loss_weights=[1.0, 2.0])
    >>> float(objective.term("value", tf.zeros([2, 1]), tf.ones([2, 1])))
    1.0
    >>> float(objective.weight("d1", step=0))
    2.0
    """

    def __init__(
        self,
        order: int,
        loss: Any = None,
        loss_weights: Any = None,
        component_weights: dict | str | None = None,
        missing: str | None = None,
        mean_over: str = "batch",
        derivative_share: float = 1.0,
    ) -> None:
        if mean_over not in ("batch", "present"):
            raise ValueError(f'mean_over is "batch" or "present", got {mean_over!r}.')
        if missing not in (None, "nan"):
            raise ValueError(f'missing is None or "nan", got {missing!r}.')
        by_term = per_term(loss, order, losses.SquaredNorm(), "loss")
        self.losses: dict[str, Any] = {
            name: None if loss is None else losses.resolve(loss) for name, loss in by_term.items()
        }
        self.classes = may_take_class_numbers(self.losses["value"])
        self.weights = weights_per_term(loss_weights, order)
        self.missing, self.mean_over = missing, mean_over
        self._couples: dict[tuple[str, int], bool] = {}  # by term and size
        self.derivative_share = row_share.checked(derivative_share)
        self.components: dict[str, np.ndarray] | str | None = component_weights
        self.rms = isinstance(component_weights, str) and component_weights == "rms"
        if isinstance(component_weights, dict):
            labels.by_name(component_weights, order, "component_weights")
            self.components = {
                name: require.weights(
                    "compile", f"component_weights of {name}", np.asarray(weights)
                )
                for name, weights in component_weights.items()
            }
        elif component_weights is not None and not self.rms:
            raise ValueError(
                'component_weights is None, "rms", or a dict of arrays by name of order, got '
                f"{require.shown(component_weights)}."
            )

    def takes(self, name: str) -> bool:
        """Tell whether a term has both a loss and a weight."""
        return self.losses[name] is not None and self.weights[name] is not None

    def weight(self, name: str, step: Any) -> tf.Tensor:
        """Return w_j at a training step."""
        weight = self.weights[name]
        number = weight(step) if callable(weight) else weight
        if number is None:
            raise ValueError(f"loss_weights of {name} gives None at a step, expected a number.")
        if isinstance(number, int | float):  # else TensorFlow takes float32, also for float64 nets
            number = tf.constant(number, tf.float64)
        return losses.nan_where_negative(number) if callable(weight) else number

    def refuse_weights(self, caller: str, step: Any) -> None:
        """Check the weights that are functions, at a step.

        Raises:
          ValueError: for a negative weight, or one that is not finite.
        """
        for name, weight in self.weights.items():
            if not callable(weight):
                continue
            number = float(keras.ops.convert_to_numpy(weight(step)))
            if not (np.isfinite(number) and number >= 0):
                at = int(keras.ops.convert_to_numpy(step))  # replicas hold a variable each
                raise ValueError(
                    f"{caller}: loss_weights of {name} gives {number:g} at step {at}, "
                    "expected a finite number of at least 0."
                )

    def refuse_no_weight(self, labeled: Iterable[str]) -> None:
        """Raise ValueError if all terms with labels have the constant weight 0."""
        taken = [name for name in labeled if self.takes(name)]
        if taken and all(not callable(self.weights[n]) and self.weights[n] == 0 for n in taken):
            raise ValueError(
                f"loss_weights are 0 for all terms with labels ({', '.join(taken)}): there is "
                "nothing to learn."
            )

    def couples(self, name: str, size: int) -> bool:
        """Tell whether a term's loss compares the entries of its last axis with each other.

        Args:
          name: the term's.
          size: of the last axis.
        """
        if self.losses[name] is None:
            return False
        if (name, size) not in self._couples:
            self._couples[name, size] = couples_entries(self.losses[name], size)
        return self._couples[name, size]

    def refuse_partly_missing(
        self, caller: str, name: str, label: np.ndarray, start: int = 0, where: str = ""
    ) -> None:
        """Check a label with missing entries, see `coupled_entries.refuse_partly_missing`."""
        term, numbers = name.split()[1], label.dtype.kind == "f" and label.ndim > 1
        if numbers and np.isnan(label).any() and self.couples(term, label.shape[-1]):
            refuse_partly_missing(caller, name, self.losses[term], label, start, where)

    def share(self, label: tf.Tensor) -> tf.Tensor | None:
        """Return the share of a label's entries that a mean is over; None for all of them."""
        if self.missing == "nan" and self.mean_over == "present":
            return present_share(label)
        return None

    def term(
        self,
        name: str,
        label: tf.Tensor,
        predicted: tf.Tensor,
        weight: tf.Tensor | None = None,
        share: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Compute l_j of one term, averaged over the batch.

        Labels of the loss's `ignore_class` are not in the mean, as in Keras.

        Args:
          name: the term's.
          label, predicted: [B,...].
          weight: weights of the examples [B], or None for 1.
          share: the share of the labels to average over, if it is not that of these rows.

        Returns:
          A scalar. Missing labels have no gradient under missing="nan".
        """
        components = self._components(name, predicted.shape[1:])
        if components is not None:
            if not label.dtype.is_floating and label.shape != predicted.shape:
                raise ValueError(
                    f"component_weights of {name} need labels that are numbers, got class numbers."
                )
            components = tf.cast(components, predicted.dtype)
            label, predicted = tf.cast(label, predicted.dtype) * components, predicted * components
        share = self.share(label) if share is None else share
        loss, missing, couples = self.losses[name], None, False
        if self.missing == "nan":
            comparable = label.dtype.is_floating and label.shape.is_compatible_with(predicted.shape)
            if comparable and len(label.shape) > 1:
                missing, couples = tf.math.is_nan(label), self.couples(name, predicted.shape[-1])
            label, predicted, weight = mask_missing(label, predicted, weight, filler(couples))
        if weight is not None:
            weight = losses.nan_where_negative(weight)
        values = losses.per_example(loss, label, predicted)
        if missing is not None:
            values = without_missing(values, loss, missing, predicted, couples)
        mean = losses.batch_mean(values, weight)
        mean = over_labels_that_count(mean, loss, label)
        return mean if share is None else tf.math.divide_no_nan(mean, tf.cast(share, mean.dtype))

    def terms(
        self,
        true: dict[str, tf.Tensor],
        predicted: dict[str, tf.Tensor],
        weights: dict[str, tf.Tensor],
        step: Any,
        shares: dict[str, tf.Tensor] | None = None,
    ) -> Iterator[TermLoss]:
        """Yield w_j and l_j of every term that has labels, a loss and a weight.

        Args:
          true, predicted, weights: by name of term, as the fields of a `terms.Comparison`.
          step: the training step, for weights that follow it.
          shares: the shares of labels to average over, by name; those of these rows by default.

        Raises:
          ValueError: there is no such term.
        """
        taken = [name for name in true if self.takes(name)]
        if not taken:
            raise ValueError(f"no term has both a label and a loss: labels are {list(true)}.")
        for name in taken:
            share = (shares or {}).get(name)
            share = self.share(true[name]) if share is None else share
            value = self.term(name, true[name], predicted[name], weights.get(name), share)
            yield TermLoss(name, self.weight(name, step), value, share)

    def balance(self, sizes: dict[str, np.ndarray] | None) -> bool:
        """Set the component weights of "rms", 1 over the size of each component of the labels.

        Returns:
          Whether component weights changed. They are constants of functions that were traced
          before, so that these must be traced again; only then, because TensorFlow keeps megabytes
          of every trace.
        """
        if not self.rms or sizes is None:
            return False
        before, new = self.components, {name: 1 / size for name, size in sizes.items()}
        self.components = new
        if not isinstance(before, dict) or before.keys() != new.keys():
            return True
        return not all(np.array_equal(before[name], new[name]) for name in new)

    def config(self) -> dict[str, list] | str | None:
        """Return the component weights for a saved model, as they were requested."""
        if self.rms:
            return "rms"
        if isinstance(self.components, dict):
            return {name: weights.tolist() for name, weights in self.components.items()}
        return self.components

    def _components(self, name, shape):
        if self.components == "rms":
            raise ValueError('component_weights="rms" needs the labels\' sizes: call adapt first.')
        components = self.components.get(name) if isinstance(self.components, dict) else None
        if self.rms and components is None and labels.order_of(name):
            raise ValueError(
                f'component_weights="rms" needs the sizes of {name}, which adapt did not see: call '
                "adapt with the labels that fit gets."
            )
        if components is None or components.shape == tuple(shape):
            return components
        if shape[0] == 1 and components.shape == tuple(shape[1:]):
            return components[None]
        raise ValueError(
            f"component_weights of {name} have shape {list(components.shape)}, expected "
            f"{list(shape)}: one for each component, without the batch."
        )
