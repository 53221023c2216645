"""Checks of arguments of `compile`: Keras checks names of metrics and numbers only in `fit`."""

import difflib
import re
from collections.abc import Callable
from typing import Any

import keras

from sobolev_tf import require
from sobolev_tf.keras_support.options import refuse_unknown

_TERM_METRIC = re.compile(r"(?:value|d\d+|jvp|vjp|hvp)_(rmse|r2|cosine)")
NAMED_BY_LABELS = ("accuracy", "acc", "crossentropy", "ce")  # their class depends on the labels

# Arguments of keras.Model.compile that the models here do not define themselves.
_KERAS = (
    "steps_per_execution", "jit_compile", "run_eagerly", "auto_scale_loss", "weighted_metrics",
    "loss_weights",
)  # fmt: skip


def refuse_unknown_metrics(name: str, metrics: Any) -> None:
    """Refuse metrics that Keras would refuse at the first batch.

    Args:
      name: the argument, "metrics" or "weighted_metrics".
      metrics: a list, a dict, or nested ones, of names, metrics and functions; or None.

    Raises:
      ValueError: for an unknown name, or what is no metric.

    Example:

    >>> refuse_unknown_metrics("metrics", ["mae", "accurcy"])
    Traceback (most recent call last):
    ValueError: compile: metrics has 'accurcy', which is no metric of Keras: did you mean \
'accuracy'?
    """
    if metrics is None:
        return
    if not isinstance(metrics, list | tuple | dict):
        raise ValueError(f"compile: {name} is a list, as in [...], got {require.shown(metrics)}.")
    for metric in _entries(metrics):
        if isinstance(metric, str):
            _refuse_unknown_name(name, metric)
        elif not callable(metric):
            raise ValueError(
                f"compile: {name} has {require.shown(metric)}, expected a Keras metric, its name, "
                "or a function (y_true, y_pred)."
            )


def refuse_wrong_options(options: dict[str, Any], compile_: Callable) -> None:
    """Refuse options of `compile` that Keras does not have, or that have a wrong type.

    Args:
      options: what came beside a model's own arguments.
      compile_: the model's method, whose arguments an error proposes.

    Raises:
      ValueError: names the option.

    Example:

    >>> refuse_wrong_options({"steps_per_execution": 0}, keras.Model.compile)
    Traceback (most recent call last):
    ValueError: compile: steps_per_execution is a whole number of at least 1, got 0.
    """
    refuse_unknown("compile", options, compile_, known=_KERAS)
    if (steps := options.get("steps_per_execution", "auto")) != "auto":
        require.whole_number("compile", "steps_per_execution", steps, at_least=1)
    for name in ("run_eagerly", "auto_scale_loss"):
        if options.get(name) is not None:
            require.switch("compile", name, options[name])
    if options.get("jit_compile", "auto") not in ("auto", None):
        require.switch("compile", "jit_compile", options["jit_compile"])


def optimizer_of(name: str, optimizer: Any) -> keras.optimizers.Optimizer:
    """Return a Keras optimizer from itself, its name or its config.

    Raises:
      ValueError: for anything else.

    Example:

    >>> optimizer_of("optimizer", "adamm")
    Traceback (most recent call last):
    ValueError: compile: optimizer is a Keras optimizer or its name, got 'adamm'.
    """
    try:
        found = keras.optimizers.get(optimizer)
    except (TypeError, ValueError, KeyError, AttributeError):
        found = None
    if found is None:
        raise ValueError(
            f"compile: {name} is a Keras optimizer or its name, got {require.shown(optimizer)}."
        )
    return found


def refuse_unseen_weights(caller: str, optimizer: Any, variables: list) -> None:
    """Refuse trainable weights that an optimizer was not built with.

    LoRA and other surgery on a net make new weights, whose moments the optimizer does not have; and
    the optimizer of another model knows the weights of that one only.

    Raises:
      ValueError: names the first such weight, and what to do.
    """
    if unseen := _unseen(optimizer, variables):
        raise ValueError(
            f"{caller}: the weight {unseen[0].path!r} is new since `compile`, or the optimizer "
            "belongs to another model: call compile again, with a new optimizer."
        )


def refuse_averages(caller: str, name: str, optimizer: Any, variables: list) -> None:
    """Refuse averages of weights, unless an optimizer trains all trainable weights of its model.

    At the end of `fit`, Keras copies the averages into these weights in turn. Where the optimizer
    has averages of others, weights would get those of another layer.

    Args:
      caller: the method that errors name.
      name: the argument of `compile`.
      optimizer: a Keras optimizer, or None.
      variables: all trainable weights of the model, in its order.

    Raises:
      ValueError: `use_ema` is set, and the optimizer was built with other weights.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    parts = getattr(optimizer, "optimizers", [optimizer])  # of a MultiOptimizer
    if optimizer is None or not optimizer.built or not any(part.use_ema for part in parts):
        return
    averaged = optimizer._trainable_variables
    if list(map(id, averaged)) != list(map(id, variables)):
        raise ValueError(
            f"{caller}: {name} has use_ema=True, which overwrites all {len(variables)} trainable "
            f"weights of the model at the end of `fit`, and has averages of {len(averaged)} "
            "weights, not of all these: leave use_ema out, or, if a layer was frozen since "
            "`compile`, call compile again, with a new optimizer."
        )


def refuse_partial_multi_optimizer(caller: str, optimizer: Any, variables: list) -> None:
    """Refuse a MultiOptimizer that does not train all trainable weights of its model.

    At the end of `fit`, Keras looks each of these weights up in it, and ends in a KeyError.

    Args:
      caller: the method that errors name.
      optimizer: a Keras optimizer, or None.
      variables: all trainable weights of the model.

    Raises:
      ValueError: it is a MultiOptimizer, and was built without one of them.
    """
    several = getattr(optimizer, "inner_optimizer", optimizer)
    unseen = _unseen(optimizer, variables)
    if unseen and isinstance(several, keras.optimizers.MultiOptimizer):
        raise ValueError(
            f"{caller}: optimizer is a MultiOptimizer, which must train all {len(variables)} "
            f"trainable weights of the model, and {len(unseen)} are not its own: they belong to "
            "critics, or learn nothing. Pass one optimizer."
        )


def _unseen(optimizer, variables):
    """The variables that an optimizer was not built with; none before it is built."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if optimizer is None or not optimizer.built:
        return []
    seen = {id(variable) for variable in optimizer._trainable_variables}
    return [variable for variable in variables if id(variable) not in seen]


def _entries(metrics):
    """All metrics in nested lists and dicts; None inside a dict leaves an output out."""
    if isinstance(metrics, dict):
        metrics = [entry for entry in metrics.values() if entry is not None]
    if isinstance(metrics, list | tuple):
        return [metric for entry in metrics for metric in _entries(entry)]
    return [metrics]


def _refuse_unknown_name(name, metric):
    if metric in NAMED_BY_LABELS:
        return
    try:
        keras.metrics.get(metric)
    except ValueError:
        known = [*filter(str.islower, dir(keras.metrics)), *NAMED_BY_LABELS, "mse", "mae"]
        close = difflib.get_close_matches(metric, known, n=1)
        advice = f": did you mean {close[0]!r}?" if close else "."
        if kind := _TERM_METRIC.fullmatch(metric):
            advice = f": jet_metrics=[{kind[1]!r}] has it for every term with labels."
        raise ValueError(
            f"compile: {name} has {metric!r}, which is no metric of Keras{advice}"
        ) from None
