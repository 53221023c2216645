"""Callbacks that every `fit` of the library's models runs."""

import math
from collections.abc import Mapping
from typing import Any

import keras


class StopAtNaN(keras.callbacks.Callback):
    """A callback that ends training when a loss is NaN or infinite, and names the loss.

    It checks after steps 1, 2, 4, ... and at the end of an epoch, before any other callback runs.
    Where Keras takes several steps in one call, it checks after the first call that has reached
    such a step. That is enough, because a running mean keeps a NaN; reading it at every step would
    slow training down. A callback that saves weights between those steps may save NaN, one that
    saves at the end of an epoch cannot. A subclass may name more by `error`.

    Raises:
      FloatingPointError: a loss is not finite.
    """

    async_safe = True
    _due = 1  # the next step to check

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Begin with step 1 again."""
        self._due = 1

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Check the losses after steps 1, 2, 4, ..."""
        steps = batch + 1
        if steps >= self._due:
            self._due = 1 << steps.bit_length()  # the next power of two
            self.check(logs or {})

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Check the losses of an epoch."""
        self.check(logs or {})

    def check(self, logs: dict) -> None:
        """Raise `error` if a training loss is not finite; a term without labels may be NaN."""
        if lost := lost_losses(self.model, logs):
            raise self.error(lost[-1], float(logs[lost[-1]]))

    def error(self, name: str, value: float) -> FloatingPointError:
        """Return the error of a loss that is not finite."""
        return FloatingPointError(
            f"{type(self.model).__name__}.fit: {name} became "
            f"{'NaN' if math.isnan(value) else 'infinite'}: lower the learning rate, or scale x "
            "and labels by adapt. The weights of this model are lost; go back to a checkpoint."
        )


def lost_losses(model: Any, logs: Mapping[str, Any]) -> list[str]:
    """Return the names of training losses that are NaN or infinite.

    Args:
      model: may tell by `has_no_labels(name)` that a term had no labels yet, and may be NaN.
      logs: as callbacks get them.

    Example:

    >>> lost_losses(None, {"loss": 1.0, "d1_loss": math.nan, "val_loss": math.nan, "mae": math.nan})
    ['d1_loss']
    """
    unlabeled = getattr(model, "has_no_labels", lambda name: False)
    losses = [name for name in logs if name.endswith("loss") and not name.startswith("val_")]
    lost = [name for name in losses if not math.isfinite(float(logs[name]))]
    return [name for name in lost if not unlabeled(name)]


_OF_BATCHES = [
    f"on_{kind}batch_{moment}" for kind in ("", "train_", "test_") for moment in ("begin", "end")
]


def want_batches(callbacks: Any) -> bool:
    """Tell whether a callback of `fit` or `evaluate` looks at every batch.

    Keras's that save or restore by epoch do not, nor does its progress bar.

    Example:

    >>> want_batches([keras.callbacks.EarlyStopping()])
    False
    >>> want_batches(keras.callbacks.TerminateOnNaN())
    True
    """
    flat = [entry for entry in keras.tree.flatten(callbacks) if entry is not None]
    flat = [c for entry in flat for c in getattr(entry, "callbacks", [entry])]
    return any(map(_wants_batches, flat))


def _wants_batches(callback):
    if isinstance(callback, StopAtNaN | keras.callbacks.ProgbarLogger):
        return False
    is_keras = type(callback).__module__.partition(".")[0] == "keras"
    if is_keras and getattr(callback, "save_freq", None) in ("epoch", False):
        return False
    own = (getattr(getattr(callback, name), "__func__", None) for name in _OF_BATCHES)
    base = (getattr(keras.callbacks.Callback, name) for name in _OF_BATCHES)
    return any(one is not other for one, other in zip(own, base, strict=True))


def stop_at_nan_first(callbacks: Any) -> Any:
    """Put `StopAtNaN` before the callbacks of `fit`; a CallbackList is returned as it is."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return [StopAtNaN(), *keras.tree.flatten(callbacks or [])]
