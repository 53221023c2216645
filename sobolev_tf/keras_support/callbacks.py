"""Callbacks that every `fit` of a SobolevModel runs."""

import math
from typing import Any

import keras


class StopAtNaN(keras.callbacks.Callback):
    """A callback that ends training when a loss is NaN or infinite, and names the loss.

    It checks after steps 1, 2, 4, ... and at the end of an epoch, before any other callback runs.
    That is enough, because a running mean keeps a NaN; reading it at every step would slow training
    down. A callback that saves weights between those steps may save NaN, one that saves at the end
    of an epoch cannot.

    Raises:
      FloatingPointError: a loss is not finite.
    """

    async_safe = True

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Check the losses after steps 1, 2, 4, ..."""
        if (batch + 1) & batch == 0:
            self.on_epoch_end(None, logs)

    def on_epoch_end(self, epoch: int | None, logs: dict | None = None) -> None:
        """Check the losses of an epoch."""
        for name, value in reversed((logs or {}).items()):
            own = name.endswith("loss") and not name.startswith("val_")
            if own and not math.isfinite(float(value)):
                raise FloatingPointError(
                    f"{name} became {'NaN' if math.isnan(float(value)) else 'infinite'}: lower the "
                    "learning rate, or scale x and labels by adapt; in data that was not passed as "
                    "arrays, look for NaN and infinity. The weights of this model are lost; go "
                    "back to a checkpoint."
                )


def stop_at_nan_first(callbacks: Any) -> Any:
    """Put `StopAtNaN` before the callbacks of `fit`; a CallbackList is returned as it is."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return [StopAtNaN(), *keras.tree.flatten(callbacks or [])]
