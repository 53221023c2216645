"""The Levenberg-Marquardt method for small data: Gauss-Newton steps with as much damping as needed.

With squared losses and fewer labels than weights, the linearized problem of a step has one equation
for each label: a hundred points with gradients in two dimensions give a system of 300. Since it is
solved exactly, a few dozen steps suffice where L-BFGS needs thousands.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.keras_support.calls import called_as
from sobolev_tf.model.sobolev import SobolevModel
from sobolev_tf.solvers.evidence import most_probable_rho
from sobolev_tf.solvers.full_batch import FullBatch
from sobolev_tf.solvers.laplace import laplace_layer, left_out_scale, weight_posterior
from sobolev_tf.solvers.linear import LinearProblem, bend_step, solve_step, sum_of_squares
from sobolev_tf.solvers.residuals import linearization, refuse_other_losses, residual_function

_LARGEST, _SMALLEST = 1e12, 1e-14  # damping; with more, steps vanish

# Evidence decides on ρ after this many steps, or if a step lowers the sum by less than this share.
_WARM_UP, _SETTLED = 10, 1e-2
# Until then, in units of the trace of JᵀJ; with a large one, nets do not start to learn.
_FIRST_RHO = 1e-6


@called_as("fit_least_squares(model, x, (y, dy))")
def fit_least_squares(
    model: SobolevModel,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    iterations: int = 100,
    regularization: float | str = 0.0,
    folds: int = 0,
    damping: float = 1e-3,
    tolerance: float = 0.0,
    callbacks: Any = None,
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Minimize the squared loss of a compiled SobolevModel over all of x, by Levenberg-Marquardt.

    The loss is that of `model.evaluate(x, y, sample_weight)`, with all terms and weights of
    `compile`, in the z-scores of `adapt`, with layers in inference mode. The optimizer of `compile`
    is not used.

    A step δ solves (JᵀJ + μ) δ = Jᵀr, where r are the weighted errors of all labels and J
    [labels,weights] is their derivative with respect to the weights. The step is then corrected for
    the curvature of r along it (geodesic acceleration; Transtrum and Sethna, 2012). μ falls if the
    loss falls as the linearized problem predicts, and grows otherwise (Nielsen, 1999).

    A fit needs 8 bytes x labels x weights of memory, and labels² x weights operations a step, which
    suits up to about a thousand points. Rows are processed one by one, so no layer may couple them.
    The net's dtype is the precision: build it in float64 (`nets.mlp(2, dtype="float64")`). The fit
    runs on one device.

    Args:
      model: a compiled `SobolevModel`. However the fit ends, the model has the weights of the last
        complete iteration.
      x, y, sample_weight: arrays as for `SobolevModel.fit`, which keep their precision on the way
        to the net. A target is evaluated at every step; if that is expensive, compute its labels
        once by `targets.tabulate`.
      iterations: the largest number of steps; each lowers the sum of squares.
      regularization: ρ of loss + ρ‖w - w₀‖², where w₀ are the initial weights; callbacks and
        History show the loss without it. With "evidence", every step uses the ρ under which the
        labels are most probable, for the linearized problem with weights distributed around w₀ and
        noisy labels (MacKay, 1992). ρ tends to zero if the net can fit the labels, and stays above
        zero if it cannot: because of noise, or of oscillations between too few points. The first
        ten steps, or fewer if the fit settles earlier, use a small ρ. The search is local: it may
        mistake barely resolved oscillations for noise, and noise for oscillations.
      folds: with "evidence", number of parts of the rows. Each part is left out once and the rest
        is fitted from w₀; the deviations of `predict_std` are then multiplied by the ratio of
        actual errors to predicted deviations on the left-out rows. This takes `folds` more fits; 3
        are enough. With 0, deviations are those of the evidence, which are often too large.
      damping: the initial μ, in units of the trace of JᵀJ.
      tolerance: the fit ends if a step lowers the sum of squares by less than this share.
      callbacks: as in Keras; an epoch is an iteration. `model.stop_training = True` ends the fit.
      verbose: 1 shows a line with iteration, loss and time left, 0 shows none, "auto" shows it on a
        terminal only.

    Returns:
      Keras's History of "loss" by iteration; empty if no step lowers the loss. Its `rho` is the
      last ρ.

    Raises:
      ValueError: a loss is not squared, or the model has a projection or regularizers.
      FloatingPointError: the loss is not finite.

    Example:

    >>> import numpy as np
    >>> from sobolev_tf import SobolevModel, nets
    >>> model = SobolevModel(nets.mlp(1, hidden=[8], activation="tanh", dtype="float64"))
    >>> model.compile()
    >>> x = np.linspace(-1, 1, 5)[:, None]
    >>> fit_least_squares(model, x, (x**2, 2 * x), iterations=50).history["loss"][-1] < 1e-4
    True
    """
    caller = "fit_least_squares"
    require.number(caller, "damping", damping, above=0)
    require.number(caller, "tolerance", tolerance, at_least=0)
    if damping >= _LARGEST:
        raise ValueError(f"{caller}: damping is between 0 and {_LARGEST:g}, got {damping}.")
    evidence = isinstance(regularization, str) and regularization == "evidence"
    if isinstance(regularization, str) and not evidence:
        raise ValueError(
            f'{caller}: regularization is "evidence" or a finite number of at least 0, got '
            f"{regularization!r}."
        )
    rho = None if evidence else require.number(caller, "regularization", regularization, at_least=0)
    fit = FullBatch(caller, model, x, y, sample_weight, iterations, callbacks, verbose)
    refuse_other_losses(fit)
    folds = _checked_folds(folds, evidence, len(keras.tree.flatten(fit.problem.data)[0]))
    start = fit.last_weights

    def fit_rows(problem):
        problem.assign(tf.constant(start))
        rest = FullBatch(caller, model, x, y, sample_weight, iterations, None)
        rest.problem = problem
        ridge = _Ridge(None)
        with rest:
            _minimize(rest, iterations, ridge, _Damping(damping), tolerance)
        return rest, weight_posterior(rest, start, ridge.rho)

    try:
        scale = left_out_scale(fit, folds, fit_rows) if folds else 1.0
    finally:
        fit.problem.assign(tf.constant(start))
    ridge = _Ridge(rho)
    with fit:
        _minimize(fit, iterations, ridge, _Damping(damping), tolerance)
        if evidence:  # before callbacks, which may change the weights, see the end
            posterior = weight_posterior(fit, start, ridge.rho)
            layer = None if posterior is None else laplace_layer(fit, posterior, scale)
            fit.model.set_posterior(layer)
    fit.history.rho = ridge.rho
    return fit.history


def _checked_folds(folds: int, evidence: bool, rows: int) -> int:
    """folds, where it can be."""
    caller = "fit_least_squares"
    folds = require.whole_number(caller, "folds", folds, at_least=0)
    if folds and not evidence:
        raise ValueError(f'{caller}: folds={folds} needs regularization="evidence".')
    if folds == 1 or folds > rows:
        raise ValueError(f"{caller}: folds is 0, or between 2 and {rows} rows, got {folds}.")
    return folds


class _Ridge:
    """ρ of loss + ρ‖w - w₀‖², of the whole fit or, if None, by evidence.

    Attributes:
      is_final: whether ρ is the one of the regularization that was requested.
    """

    def __init__(self, rho: float | None):
        self.evidence, self.rho = rho is None, rho or 0.0
        self.is_final = not self.evidence

    def update(
        self, linear: LinearProblem, moved: np.ndarray, iteration: int, settled: bool
    ) -> float:
        """Choose ρ of an iteration from its linearized problem and w - w₀ [N]."""
        if not self.evidence:
            return self.rho
        trace = np.trace(linear.product)
        self.is_final = iteration >= _WARM_UP or settled
        if self.is_final:
            least = np.finfo(float).eps ** 2 * trace
            self.rho = most_probable_rho(linear, moved, max(self.rho, least))
        elif iteration == 0:
            self.rho = _FIRST_RHO * trace
        return self.rho


class _Damping:
    """μ in units of the trace of JᵀJ, by Nielsen's rule (1999)."""

    def __init__(self, mu: float):
        self.mu, self.growth = mu, 2.0

    def grow(self) -> None:
        """After a step that did not lower the sum."""
        self.mu, self.growth = self.mu * self.growth, 2 * self.growth

    def shrink(self, gain: float) -> None:
        """After a step that lowered the sum by `gain` times what the linear problem predicts."""
        share = max(1 / 3, 1 - (2 * gain - 1) ** 3)
        self.mu, self.growth = max(self.mu * share, _SMALLEST), 2.0


def _minimize(
    fit: FullBatch, iterations: int, ridge: _Ridge, damping: _Damping, tolerance: float
) -> None:
    linearize, residuals_at = linearization(fit), residual_function(fit)
    weights = start = fit.last_weights
    settled = False
    for iteration in range(iterations):
        residuals, jacobian = (t.numpy() for t in linearize(tf.constant(weights)))
        fit.refuse_not_finite(sum_of_squares(residuals), residuals, jacobian)
        linear, moved = LinearProblem(residuals, jacobian), weights - start
        if np.trace(linear.product) == 0:
            return  # no label depends on any weight
        rho = ridge.update(linear, moved, iteration, settled)
        total = linear.loss + rho * sum_of_squares(moved)
        step = _lowering_step(linear, total, weights, moved, rho, damping, residuals_at)
        if step is None:
            return  # the minimum, to working precision
        weights = weights - step.move
        settled = step.fall < _SETTLED * total
        damping.shrink(step.fall / step.expected)
        stop = fit.end_iteration(weights, step.loss)
        if stop or (ridge.is_final and step.fall <= tolerance * total):
            return


class _Step(NamedTuple):
    """A step [N], by how much the linear problem falls, the loss after it, and the sum's fall."""

    move: np.ndarray
    expected: float
    loss: float
    fall: float


def _lowering_step(
    linear: LinearProblem,
    total: float,
    weights: np.ndarray,
    moved: np.ndarray,
    rho: float,
    damping: _Damping,
    residuals_at: Callable,
) -> _Step | None:
    """The first step that lowers the sum `total`, damped more and more; None if there is none."""
    trace = np.trace(linear.product)
    while damping.mu < _LARGEST:
        move, expected = solve_step(linear, moved, rho, damping.mu * trace)
        move += bend_step(linear, move, rho + damping.mu * trace, weights, residuals_at)
        loss = sum_of_squares(residuals_at(tf.constant(weights - move)).numpy())
        fall = total - loss - rho * sum_of_squares(moved - move)
        if fall > 0:
            return _Step(move, expected, loss, fall)
        damping.grow()
    return None
