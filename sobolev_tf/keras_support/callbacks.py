"""Callbacks that every `fit` of a SobolevModel runs."""

import math
from typing import Any

import keras


class StopAtNaN(keras.callbacks.Callback):
    """A callback that ends training where a loss is NaN or infinite, and names the loss.

    Looks at steps 1, 2, 4, ... and at the epoch's end, before any other callback does: a running
    mean keeps a NaN, and reading it at every step would slow training. A callback that saves
    between those steps may save weights that are NaN; one that saves at an epoch's end cannot.

    Raises:
      FloatingPointError: a loss is not finite.
    """

    async_safe = True

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Look at the losses after steps 1, 2, 4, ..."""
        if (batch + 1) & batch == 0:
            self.on_epoch_end(None, logs)

    def on_epoch_end(self, epoch: int | None, logs: dict | None = None) -> None:
        """Look at the losses of an epoch."""
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
    """Return callbacks of `fit` with `StopAtNaN` before them; a CallbackList as it is."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return [StopAtNaN(), *keras.tree.flatten(callbacks or [])]
