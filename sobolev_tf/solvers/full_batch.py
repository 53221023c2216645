"""Fits that see all points at every step: the weights are one vector, an iteration is an epoch."""

import numbers

import keras
import numpy as np
import tensorflow as tf


class FullBatch:
    """What such a fit of a compiled SobolevModel needs, as a context.

    However the block ends, the model has the weights that `end_iteration` saw last.

    Args:
      caller: the public function, named in errors.
      x, y, sample_weight, callbacks: as for `fit`.

    Attributes: problem, the loss as a function of the weights; last_weights [N], float64.
    """

    def __init__(self, caller, model, x, y, sample_weight, iterations, callbacks):
        if not getattr(model, "objective", None):
            raise ValueError(f"{caller}: the model has no loss yet, call compile first.")
        if not isinstance(iterations, numbers.Integral) or iterations < 1:
            raise ValueError(f"{caller}: at least 1 iteration is needed, got {iterations=}.")
        self.problem = model.problem(x, y, sample_weight)
        _refuse_lengths(caller, keras.tree.flatten(self.problem.data))
        self.problem.build()
        self.caller, self.model, self.variables = caller, model, model.trainable_variables
        if not self.variables:
            raise ValueError(f"{caller}: the model has no trainable weights.")
        if not model.optimizer.built:
            model.optimizer.build(self.variables)  # as `fit` does: a .keras file holds its state
        self.last_weights = np.concatenate([np.ravel(v) for v in self.variables], dtype="f8")
        self.history = keras.callbacks.History()
        self.callbacks = keras.callbacks.CallbackList(
            [self.history, *keras.tree.flatten(callbacks or [])], model=model
        )

    def __enter__(self):
        self.model.stop_training = False
        self.callbacks.on_train_begin()
        return self

    def __exit__(self, error, *_):
        self.assign(tf.constant(self.last_weights))
        self.model.reset_metrics()
        if error is None:
            self.callbacks.on_train_end()

    def end_iteration(self, weights, loss) -> bool:
        """Ends an iteration at weights [N]; whether a callback wants the fit to stop."""
        self.last_weights = np.array(weights)
        self.callbacks.on_epoch_end(len(self.history.epoch), {"loss": float(loss)})
        return self.model.stop_training

    def assign(self, flat):
        """Sets the weights from one vector."""
        sizes = [int(np.prod(variable.shape)) for variable in self.variables]
        for variable, part in zip(self.variables, tf.split(flat, sizes), strict=True):
            variable.assign(tf.reshape(tf.cast(part, variable.dtype), variable.shape))

    def compiled(self, function):
        """`function` of weights [N] or none, as a graph where the model runs as one."""
        if self.model.run_eagerly:
            return function
        return tf.function(function, autograph=False, jit_compile=self.model.jit_compile)

    def refuse_not_finite(self, loss, *tensors):
        if not all(np.isfinite(t).all() for t in (loss, *tensors)):
            raise FloatingPointError(
                f"{self.caller}: the loss is {loss}, or its gradient not finite: look for NaN or "
                "infinity in x and in the labels, and at the net's initial weights."
            )


def _refuse_lengths(caller, tensors):
    lengths = sorted({len(t) if t.shape.rank else 0 for t in tensors if t is not None})
    if len(lengths) != 1 or not lengths[0]:
        raise ValueError(
            f"{caller}: x, every label and every weight have a row for each point; got {lengths} "
            "rows."
        )
