"""L-BFGS for small data: every point in every step, and curvature from the steps before.

Where a few hundred points are all there is, a first-order optimizer stops far from the minimum
of the loss; this goes on to it, as far as the net's precision reaches.
"""

import keras
import tensorflow as tf

from sobolev_tf.solvers.full_batch import FullBatch


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
        A live target is asked at every step: give an expensive one's labels by `tabulate`.
    iterations: at most so many steps, each of one evaluation or, rarely, a few.
    corrections: how many steps curvature is learned from.
    tolerance: end where a step lowers the loss by less than this share of it.
    callbacks: Keras's; an iteration is an epoch. `model.stop_training = True` ends the fit.

    Returns the History of "loss" by iteration, with SciPy's reason to stop as `message`. The net's
    dtype is the precision of loss and gradient: build it in float64 (`nets.mlp(2,
    dtype="float64")`), since in float32 L-BFGS stops early. Runs on one device. Where losses are
    squared and points few, `fit_least_squares` needs far fewer steps.

    Raises ImportError without SciPy, FloatingPointError where the loss is not finite. However it
    ends, the model has the weights of the last whole iteration.

    >>> import numpy as np
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
    if corrections < 1:
        raise ValueError(f"fit_lbfgs: at least 1 is needed, got {corrections=}.")

    last = float("inf")

    def at_iteration(intermediate_result):
        nonlocal last
        loss = float(intermediate_result.fun)
        small = last - loss < tolerance * last
        last = loss
        if fit.end_iteration(intermediate_result.x, loss) or small:
            raise StopIteration

    options = {"maxiter": iterations, "maxfun": 20 * iterations, "maxcor": corrections}
    with FullBatch("fit_lbfgs", model, x, y, sample_weight, iterations, callbacks) as fit:
        result = optimize.minimize(
            _objective(fit),
            fit.last_weights,
            jac=True,
            method="L-BFGS-B",
            callback=at_iteration,
            options=options | {"ftol": 0.0, "gtol": 0.0},  # of SciPy's own, absolute below 1
        )
    fit.history.message = result.message
    return fit.history


def _objective(fit):
    """weights [N] -> (loss, gradient [N]), in float64, and the weights are the model's now."""

    @fit.compiled
    def evaluate(flat):
        fit.assign(flat)
        values = [variable.value for variable in fit.variables]
        with tf.GradientTape() as tape:
            loss = fit.problem.loss()
        # The last bias has no part in derivatives: without value labels its gradient is zero.
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        flattened = [tf.cast(tf.reshape(g, [-1]), tf.float64) for g in gradients]
        return tf.cast(loss, tf.float64), tf.concat(flattened, 0)

    def loss_and_gradient(flat):
        loss, gradient = (t.numpy() for t in evaluate(tf.constant(flat)))
        fit.refuse_not_finite(loss, gradient)
        return loss, gradient

    return loss_and_gradient
