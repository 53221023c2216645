"""L-BFGS for small data: every point in every step, and curvature from the steps before.

Where a few hundred points are all there is, a first-order optimizer stops far from the minimum
of the loss; this goes on to it, as far as the net's precision reaches.
"""

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import labels


def fit_lbfgs(
    model,
    x,
    y=None,
    sample_weight=None,
    iterations: int = 1000,
    corrections: int = 50,
    tolerance: float = 0.0,
    callbacks=None,
) -> keras.callbacks.History:
    """Minimise the loss of a compiled SobolevModel over all of x at once, by SciPy's L-BFGS-B.

    What is minimised is what `model.evaluate(x, y, sample_weight)` calls the loss: every term and
    weight of `compile`, between the z-scores of `adapt`, live targets, regularisation. Layers are
    in inference mode and random directions stay as they are, so that it is one function of the
    weights. The optimizer of `compile` is not used.

    x, y, sample_weight: arrays as for `fit`; they are not rounded on their way to the net.
    iterations: at most so many steps, each of one evaluation or, rarely, a few.
    corrections: how many steps curvature is learned from.
    tolerance: end where a step lowers the loss by less than this share of it.
    callbacks: Keras's; an iteration is an epoch. `model.stop_training = True` ends the fit.

    Returns the History of "loss" by iteration, with SciPy's reason to stop as `message`. The net's
    dtype is the precision of loss and gradient: build it in float64 (`nets.mlp(2,
    dtype="float64")`), since in float32 L-BFGS stops early. Runs on one device.

    Raises ImportError without SciPy, FloatingPointError where the loss is not finite. However it
    ends, the model has the weights of the last whole iteration.

    >>> from sobolev_tf import SobolevModel, nets
    >>> model = SobolevModel(nets.mlp(1, hidden=[8], activation="tanh", dtype="float64"))
    >>> model.compile()
    >>> x = np.linspace(-1, 1, 5)[:, None]
    >>> fit_lbfgs(model, x, (x**2, 2 * x), iterations=100).history["loss"][-1] < 1e-4
    True
    """
    try:
        from scipy import optimize
    except ImportError as error:
        raise ImportError('fit_lbfgs needs SciPy: pip install "sobolev_tf[lbfgs]".') from error
    if not getattr(model, "objective", None):
        raise ValueError("fit_lbfgs: the model has no loss yet, call compile first.")
    if min(iterations, corrections) < 1:
        raise ValueError(f"fit_lbfgs: at least 1 is needed, got {iterations=}, {corrections=}.")
    model._refuse_nan(y)
    given = labels.structured(x, y, sample_weight, model.order)
    data = keras.tree.map_structure(tf.convert_to_tensor, keras.tree.lists_to_tuples(given))
    model._cast(data[0])  # builds
    variables = model.trainable_variables
    whole = np.concatenate([np.ravel(v) for v in variables], dtype="f8")  # after an iteration
    history = keras.callbacks.History()
    callbacks = [history, *keras.tree.flatten(callbacks or [])]
    told = keras.callbacks.CallbackList(callbacks, model=model)

    def at_iteration(intermediate_result):
        nonlocal whole
        whole = intermediate_result.x.copy()
        told.on_epoch_end(len(history.epoch), {"loss": float(intermediate_result.fun)})
        if model.stop_training:
            raise StopIteration

    model.stop_training = False
    told.on_train_begin()
    options = {"maxiter": iterations, "maxfun": 20 * iterations, "maxcor": corrections}
    try:
        result = optimize.minimize(
            _objective(model, data),
            whole,
            jac=True,
            method="L-BFGS-B",
            callback=at_iteration,
            options=options | {"ftol": tolerance, "gtol": 0.0},
        )
    finally:
        _assign(variables, tf.constant(whole))
        model.reset_metrics()
    told.on_train_end()
    history.message = result.message
    return history


def _objective(model, data):
    """weights [N] -> (loss, gradient [N]), in float64, and the weights are the model's now."""
    variables = model.trainable_variables

    def evaluate(flat):
        _assign(variables, flat)
        values = [variable.value for variable in variables]
        with tf.GradientTape() as tape:
            loss, _ = model._step(data, training=False)
        # The last bias has no part in derivatives: without value labels its gradient is zero.
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        flattened = [tf.cast(tf.reshape(g, [-1]), tf.float64) for g in gradients]
        return tf.cast(loss, tf.float64), tf.concat(flattened, 0)

    if not model.run_eagerly:
        evaluate = tf.function(evaluate, autograph=False, jit_compile=model.jit_compile)

    def loss_and_gradient(flat):
        loss, gradient = (t.numpy() for t in evaluate(tf.constant(flat)))
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            raise FloatingPointError(
                f"fit_lbfgs: the loss is {loss}, or its gradient not finite: look for NaN or "
                "infinity in x and in the labels, and at the net's initial weights."
            )
        return loss, gradient

    return loss_and_gradient


def _assign(variables, flat):
    """Sets variables from one vector."""
    sizes = [int(np.prod(variable.shape)) for variable in variables]
    for variable, part in zip(variables, tf.split(flat, sizes), strict=True):
        variable.assign(tf.reshape(tf.cast(part, variable.dtype), variable.shape))
