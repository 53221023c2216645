"""Keras's callbacks in a full-batch fit: what they need, and which cannot work there."""

from typing import Any

import keras

from sobolev_tf import warn
from sobolev_tf.keras_support.fit_arguments import look_at_callbacks

_RATES = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def callback_list(
    caller: str, callbacks: Any, history: Any, model: Any, iterations: int, verbose: int
) -> keras.callbacks.CallbackList:
    """Make the callbacks of a fit whose iterations are epochs of one step.

    Warns of a callback that sets a learning rate: such a fit has none.

    Args:
      caller: the public function that errors name.
      callbacks: a callback, or a list of them, or None.
      history: the History of the fit, which comes first.
      model: the model of the callbacks.
      iterations: the largest number of iterations, which callbacks see as `params["epochs"]`.
      verbose: 1 if a progress line is shown.

    Raises:
      ValueError: something is not a callback.
    """
    flat = look_at_callbacks(caller, callbacks)
    for callback in flat:
        if isinstance(callback, _RATES):
            warn.at_users_line(
                f"{caller} has no learning rate: {type(callback).__name__} changes nothing."
            )
    return keras.callbacks.CallbackList(
        [history, *flat], model=model, epochs=iterations, steps=1, verbose=verbose
    )
