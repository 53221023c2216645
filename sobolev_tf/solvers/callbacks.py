"""Keras's callbacks in a fit without batches: what they need, and those that cannot work there."""

import warnings
from typing import Any

import keras

from sobolev_tf.keras_support.fit_arguments import look_at_callbacks

_RATES = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def callback_list(
    caller: str, callbacks: Any, history: Any, model: Any, iterations: int, verbose: int
) -> keras.callbacks.CallbackList:
    """Make the callbacks of a fit whose iterations are epochs of one step.

    Warns of a callback that sets a learning rate: such a fit has none.

    Args:
      caller: the public function, named in errors.
      callbacks: a callback, or a list of them, or None.
      history: the History of the fit, which comes first.
      model: the model that they see.
      iterations: the most that there may be: "epochs" of the callbacks' `params`.
      verbose: 1 where a progress line is shown.

    Raises:
      ValueError: for what is no callback.
    """
    flat = look_at_callbacks(caller, callbacks)
    for callback in flat:
        if isinstance(callback, _RATES):
            warnings.warn(
                f"{caller} has no learning rate: {type(callback).__name__} changes nothing.",
                stacklevel=4,
            )
    return keras.callbacks.CallbackList(
        [history, *flat], model=model, epochs=iterations, steps=1, verbose=verbose
    )
