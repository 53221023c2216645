"""L-BFGS for small data: every step uses all points, and curvature learned from earlier steps.

On a few hundred points, a first-order optimizer stops far from the minimum of the loss. L-BFGS gets
as close to it as the net's precision allows.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.keras_support.calls import called_as
from sobolev_tf.model.problem import Problem
from sobolev_tf.model.sobolev import SobolevModel
from sobolev_tf.solvers.full_batch import FullBatch

_EVALUATIONS = 20  # of the loss for each iteration, at most; most need one


def scipy_optimize(caller: str) -> Any:
    """Return SciPy's module, or refuse the call.

    Raises:
      ImportError: SciPy is not installed.
    """
    try:
        from scipy import optimize
    except ImportError as error:
        raise ImportError(f'{caller} needs SciPy: pip install -e ".[lbfgs]".') from error
    return optimize


@called_as("fit_lbfgs(model, x, (y, dy))")
def fit_lbfgs(
    model: SobolevModel,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    iterations: int = 1000,
    corrections: int = 50,
    tolerance: float = 0.0,
    callbacks: Any = None,
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Minimize the loss of a compiled SobolevModel over all of x at once, by SciPy's L-BFGS-B.

    The loss is that of `model.evaluate(x, y, sample_weight)`, with all terms, weights and
    regularizers, in the z-scores of `adapt`. Layers run in inference mode and random directions are
    fixed, so that the loss is one function of the weights. The optimizer of `compile` is not used.

    Loss and gradient have the precision of the net: build it in float64 (`nets.mlp(2,
    dtype="float64")`), since in float32 L-BFGS stops early. The fit runs on one device. For squared
    losses and few points, `fit_least_squares` needs far fewer steps.

    Args:
      model: a compiled `SobolevModel`. However the fit ends, the model has the weights of the last
        complete iteration.
      x, y, sample_weight: arrays as for `SobolevModel.fit`, which keep their precision on the way
        to the net. A target is evaluated at every step; if that is expensive, compute its labels
        once by `targets.tabulate`.
      iterations: the largest number of iterations. Most evaluate the loss once, some a few times.
      corrections: number of steps from which curvature is learned.
      tolerance: the fit ends if a step lowers the loss by less than this share.
      callbacks: as in Keras; an epoch is an iteration. `model.stop_training = True` ends the fit.
      verbose: 1 shows a line with iteration, loss and time left, 0 shows none, "auto" shows it on a
        terminal only.

    Returns:
      Keras's History of "loss" by iteration; its `message` is SciPy's reason to stop.

    Raises:
      ImportError: SciPy is not installed.
      FloatingPointError: the loss is not finite.

    Example:

    >>> import numpy as np
    >>> from sobolev_tf import SobolevModel, nets
    >>> model = SobolevModel(nets.mlp(1, hidden=[8], activation="tanh", dtype="float64"))
    >>> model.compile()
    >>> x = np.linspace(-1, 1, 5)[:, None]
    >>> fit_lbfgs(model, x, (x**2, 2 * x), iterations=100).history["loss"][-1] < 1e-4
    True
    """
    optimize = scipy_optimize("fit_lbfgs")
    require.whole_number("fit_lbfgs", "iterations", iterations, at_least=1)
    corrections = require.whole_number("fit_lbfgs", "corrections", corrections, at_least=1)
    tolerance = require.number("fit_lbfgs", "tolerance", tolerance, at_least=0)
    last = float("inf")

    def end_iteration(intermediate_result):
        nonlocal last
        loss = float(intermediate_result.fun)
        converged = last - loss < tolerance * last
        last = loss
        if fit.end_iteration(intermediate_result.x, loss) or converged:
            raise StopIteration

    options = {
        "maxiter": iterations,
        "maxfun": _EVALUATIONS * iterations,
        "maxcor": corrections,
        # SciPy's own tolerances are absolute below 1.
        "ftol": 0.0,
        "gtol": 0.0,
    }
    with FullBatch("fit_lbfgs", model, x, y, sample_weight, iterations, callbacks, verbose) as fit:
        result = optimize.minimize(
            _objective(fit),
            fit.last_weights,
            jac=True,
            method="L-BFGS-B",
            callback=end_iteration,
            options=options,
        )
    fit.history.message = result.message
    return fit.history


def _objective(fit: FullBatch) -> Callable[[np.ndarray], tuple]:
    """weights [N] -> (loss, gradient [N]), in float64; it leaves the weights in the model."""

    evaluate = fit.compiled(_loss_and_gradient)

    def loss_and_gradient(flat):
        loss, gradient = (t.numpy() for t in evaluate(tf.constant(flat)))
        fit.refuse_not_finite(loss, gradient)
        return loss, gradient

    return loss_and_gradient


def _loss_and_gradient(problem: Problem, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    problem.assign(weights)
    values = [variable.value for variable in problem.model.trainable_variables]
    with tf.GradientTape() as tape:
        loss = problem.loss()
    # Derivatives do not depend on the last bias: without value labels its gradient is zero.
    gradients = tape.gradient(loss, values, unconnected_gradients="zero")
    flattened = [tf.cast(tf.reshape(g, [-1]), tf.float64) for g in gradients]
    return tf.cast(loss, tf.float64), tf.concat(flattened, 0)
