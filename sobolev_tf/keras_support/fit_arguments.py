"""Checks of the arguments of Keras's methods other than data, before Keras sees them."""

from typing import Any

import keras
import numpy as np

from sobolev_tf import require
from sobolev_tf.keras_support import arrays
from sobolev_tf.keras_support.shapes import batch_shape

_LEAST = {
    "batch_size": 1,
    "epochs": 0,
    "initial_epoch": 0,
    "steps_per_epoch": 1,
    "validation_steps": 1,
    "validation_batch_size": 1,
    "steps": 1,
}


def check(caller: str, model: Any, passed: dict[str, Any]) -> None:
    """Check the arguments of `fit`, `evaluate` or `predict`; unknown ones are ignored.

    Args:
      caller: the method that errors name.
      model: one of the library's models.
      passed: arguments by name.

    Raises:
      ValueError: an argument has a wrong type or range, or the model is not compiled; or weights
        of classes are given where a row has several labels.
    """
    if not model.compiled and not caller.endswith("predict"):
        raise ValueError(f"{caller}: the model has no loss and no optimizer yet: call compile.")
    for name, least in _LEAST.items():
        if passed.get(name) is not None:
            require.whole_number(caller, name, passed[name], at_least=least)
    if (shuffle := passed.get("shuffle")) not in (None, True, False, "batch"):
        raise ValueError(f"{caller}: shuffle is True or False, got {require.shown(shuffle)}.")
    share = require.number(caller, "validation_split", passed.get("validation_split", 0), 0)
    if share >= 1:
        raise ValueError(f"{caller}: validation_split is a share below 1, got {share:g}.")
    look_at_callbacks(caller, passed.get("callbacks"))
    verbose = passed.get("verbose", "auto")
    known = int(verbose) if isinstance(verbose, bool | np.integer) else verbose
    require.one_of(caller, "verbose", known, ("auto", 0, 1, 2))
    _look_at_class_weight(caller, passed.get("class_weight"), model.known_outputs())


def shuffle_of(shuffle: bool | str | None, x: Any) -> bool | str:
    """Return `fit`'s `shuffle`, where None is left to the data.

    Arrays are shuffled, and so are the batches of a PyDataset. Of data sets and generators, Keras
    would warn that it cannot shuffle them.

    Args:
      shuffle: as passed to `fit`.
      x: arrays, or a stream of batches.

    Example:

    >>> shuffle_of(None, np.zeros([4, 1])), shuffle_of(None, iter([])), shuffle_of(True, iter([]))
    (True, False, True)
    """
    if shuffle is not None:
        return shuffle
    return arrays.are_arrays(x) or isinstance(x, keras.utils.PyDataset)


def look_at_callbacks(caller: str, callbacks: Any) -> list[keras.callbacks.Callback]:
    """Return callbacks in one list.

    Args:
      caller: the public function that errors name.
      callbacks: a callback, a list of them, or None.

    Raises:
      ValueError: something is not a callback.

    Example:

    >>> look_at_callbacks("fit", [keras.callbacks.EarlyStopping])
    Traceback (most recent call last):
    ValueError: fit: callbacks are Keras's Callback objects, got the class EarlyStopping: call \
it, as in EarlyStopping().
    """
    flat = [entry for entry in keras.tree.flatten(callbacks) if entry is not None]
    for callback in flat:
        if isinstance(callback, keras.callbacks.Callback | keras.callbacks.CallbackList):
            continue
        got = require.shown(callback)
        if isinstance(callback, type) and issubclass(callback, keras.callbacks.Callback):
            name = callback.__name__
            got = f"the class {name}: call it, as in {name}()"
        raise ValueError(f"{caller}: callbacks are Keras's Callback objects, got {got}.")
    return flat


def validation_epochs(caller: str, frequency: Any) -> int | list[int]:
    """Return Keras's `validation_freq` in the types that Keras takes.

    Args:
      caller: the method that errors name.
      frequency: every how many epochs the model is validated, or after which ones, from 1.

    Raises:
      ValueError: for anything else.

    Example:

    >>> validation_epochs("fit", np.int64(2)), validation_epochs("fit", (1, 10))
    (2, [1, 10])
    """
    name = "validation_freq"
    if isinstance(frequency, list | tuple | set | range):
        return [require.whole_number(caller, name, epoch, at_least=1) for epoch in frequency]
    return require.whole_number(caller, name, frequency, at_least=1)


def _look_at_class_weight(caller, class_weight, outputs):
    if class_weight is None:
        return
    if not isinstance(class_weight, dict):
        got = require.shown(class_weight)
        raise ValueError(f"{caller}: class_weight is a dict of weights by class number, got {got}.")
    for number, weight in class_weight.items():
        require.whole_number(caller, "a class of class_weight", number, at_least=0)
        require.number(caller, f"class_weight[{number}]", weight, at_least=0)
    if class_weight and len(outputs) > 1:  # Keras would take the place of the largest label
        raise ValueError(
            f"{caller}: class_weight is for one class in each row, and the net gives "
            f"{batch_shape(outputs)}: weigh labels within a loss of your own."
        )
