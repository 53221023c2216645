"""Levenberg and Marquardt's method for small data: Gauss-Newton steps, damped as far as needed.

With squared losses, and fewer labels than weights, the linearised problem of a step has one
equation for each label: a hundred points with gradients in two dimensions make a system of 300.
Solved exactly, a few dozen steps go where L-BFGS needs thousands.
"""

import numbers

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import losses
from sobolev_tf.model import labels
from sobolev_tf.solvers.full_batch import FullBatch

LARGEST = 1e12  # damping at which no step is left to take
WARM, SETTLED = 10, 1e-2  # evidence is asked after so many steps, or once a step gains so little
START = 1e-6  # the first ρ, in units of the trace of JᵀJ: a large one keeps nets from starting
AHEAD = 0.1  # of a step, to where its curve is measured
BEND = 0.375  # of a step's length: a longer correction is not trusted


def fit_least_squares(
    model,
    x,
    y=None,
    sample_weight=None,
    iterations: int = 100,
    regularization: float | str = 0.0,
    damping: float = 1e-3,
    tolerance: float = 0.0,
    callbacks=None,
) -> keras.callbacks.History:
    """Minimise the squared loss of a compiled SobolevModel over all of x, by Levenberg-Marquardt.

    What is minimised is what `model.evaluate(x, y, sample_weight)` calls the loss: every term and
    weight of `compile`, between the z-scores of `adapt`, with layers in inference mode. A step
    solves (JᵀJ + μ) δ = Jᵀr, r the weighted errors of all labels, J [labels,weights] their
    derivative in the weights, and is bent along the curve that r takes on it (geodesic
    acceleration; Transtrum and Sethna, 2012). μ falls where the loss does as the linearised
    problem foretold, and grows where it does not (Nielsen, 1999). The optimizer of `compile` is
    not used.

    regularization: ρ of loss + ρ‖w - w₀‖², w₀ the weights that the fit starts from; what
      callbacks and History call the loss is without it. "evidence": every step takes the ρ under
      which the labels are most probable, for the linearised problem with weights drawn around w₀
      and labels with errors (MacKay, 1992). So ρ goes to zero where the net can follow the
      labels, and stays where they are noise to it: noise indeed, or waves between too few points.
      The first ten steps, less if they settle before, have a small one. It is a local search: waves
      that points hardly resolve may be taken for noise, and noise for waves.
    x, y, sample_weight: arrays as for `fit`; they are not rounded on their way to the net.
        A live target is asked at every step: give an expensive one's labels by `tabulate`.
    iterations: at most so many steps that lower the sum.
    damping: the first μ, in units of the trace of JᵀJ.
    tolerance: end where a step lowers the sum by less than this share of it.
    callbacks: Keras's; an iteration is an epoch. `model.stop_training = True` ends the fit.

    Returns the History of "loss" by iteration: empty where no step lowers the sum.

    Needs 8 bytes x labels x weights of memory, and labels² x weights operations a step: a thousand
    points are many. Rows are taken one by one, so no layer may couple them. The net's dtype is
    the precision: build it in float64 (`nets.mlp(2, dtype="float64")`). Runs on one device.

    Raises ValueError for a loss that is not squared, a random projection or regularisation,
    FloatingPointError where the loss is not finite. However it ends, the model has the weights of
    the last whole iteration.

    >>> import numpy as np
    >>> from sobolev_tf import SobolevModel, nets
    >>> model = SobolevModel(nets.mlp(1, hidden=[8], activation="tanh", dtype="float64"))
    >>> model.compile()
    >>> x = np.linspace(-1, 1, 5)[:, None]
    >>> fit_least_squares(model, x, (x**2, 2 * x), iterations=50).history["loss"][-1] < 1e-4
    True
    """
    if not 0 < damping < LARGEST:
        raise ValueError(f"fit_least_squares: damping is between 0 and {LARGEST:g}, got {damping}.")
    evidence = isinstance(regularization, str) and regularization == "evidence"
    number = isinstance(regularization, numbers.Real) and 0 <= regularization < np.inf
    if not (evidence or number):
        raise ValueError(
            'fit_least_squares: regularization is "evidence" or a finite number of at least 0, got '
            f"{regularization!r}."
        )
    growth, rho, settled = 2.0, 0.0 if evidence else regularization, False
    fit = FullBatch("fit_least_squares", model, x, y, sample_weight, iterations, callbacks)
    _refuse(model, fit.problem)
    with fit:
        linearise, residuals_at = (fit.compiled(f(fit)) for f in (_linearised, _residuals_at))
        weights = start = fit.last_weights
        for iteration in range(iterations):
            found = [t.numpy() for t in linearise(tf.constant(weights))]
            fit.refuse_not_finite(_square(found[0]), *found)
            linear = Linear(*found)
            size, moved = np.trace(linear.product), weights - start
            if size == 0:
                break  # there are no labels that any weight moves
            asked = evidence and (iteration >= WARM or settled)
            if asked:
                rho = _evidence(linear, moved, max(rho, np.finfo(float).eps ** 2 * size))
            elif evidence and iteration == 0:
                rho = START * size
            total = linear.loss + rho * _square(moved)
            while damping < LARGEST:
                move, expected = _step(linear, moved, rho, damping * size)
                move += _bent(linear, move, rho + damping * size, weights, residuals_at)
                lower = _square(residuals_at(tf.constant(weights - move)).numpy())
                fall = total - lower - rho * _square(moved - move)
                if fall > 0:
                    break
                damping, growth = damping * growth, 2 * growth
            else:
                break  # no step lowers the sum: its minimum, as far as the precision reaches
            weights = weights - move
            gain, settled = fall / expected, fall < SETTLED * total
            damping, growth = max(damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), 1e-14), 2.0
            if fit.end_iteration(weights, lower) or (
                fall <= tolerance * total and asked == evidence
            ):
                break
    return fit.history


def _refuse(model, problem):
    """Raises ValueError for what is no sum of squares of full derivatives."""
    if model.projection:
        raise ValueError("fit_least_squares: without projection= only; fit_lbfgs takes all models.")
    for name, loss in model.objective.losses.items():
        squared = isinstance(loss, losses.SquaredNorm | keras.losses.MeanSquaredError)
        if model.objective.takes(name) and not squared and loss is not losses.resolve("mse"):
            raise ValueError(
                f"fit_least_squares: the loss of {name} is not a squared error; expected "
                'st.losses.SquaredNorm or "mse". fit_lbfgs takes any loss.'
            )
    problem.loss()  # losses of activities are there after a pass
    if model.losses:
        raise ValueError("fit_least_squares: without regularisation; fit_lbfgs takes it.")


class Linear:
    """The problem as its linearisation has it: residuals r [M], their Jacobian J [M,N].

    Labels that no weight moves (missing ones, those of weight 0) count in the loss alone.
    """

    def __init__(self, residuals, jacobian):
        self.loss, self.live = _square(residuals), jacobian.any(1)
        if not self.live.all():  # a copy, which most fits are spared
            residuals, jacobian = residuals[self.live], jacobian[self.live]
        self.residuals, self.jacobian = residuals, jacobian
        labels, weights = jacobian.shape
        self.wide = labels <= weights  # NumPy sees that JJᵀ is symmetric, and does half the work
        self.product = jacobian @ jacobian.T if self.wide else jacobian.T @ jacobian

    def solve(self, right, damping):
        """(JᵀJ + μ)⁻¹ Jᵀ right; where labels are fewer, Jᵀ (JJᵀ + μ)⁻¹ right, which is the same."""
        damped = self.product + damping * np.eye(len(self.product))
        if self.wide:
            return self.jacobian.T @ np.linalg.solve(damped, right)
        return np.linalg.solve(damped, self.jacobian.T @ right)


def _residuals_at(fit):
    """weights [N] -> r [M]; the loss is r² summed."""

    def residuals_at(weights):
        fit.assign(weights)
        _, _, _, residuals = _errors(fit)
        return _matrix(residuals, 0)

    return residuals_at


def _linearised(fit):
    """weights [N] -> r [M] and its Jacobian [M,N]."""

    def linearised(weights):
        fit.assign(weights)
        x, predicted, roots, residuals = _errors(fit)
        jacobians = {n: j * roots[n][..., None] for n, j in _by_row(fit, x, predicted).items()}
        return _matrix(residuals, 0), _matrix(jacobians, 1)

    return linearised


def _errors(fit):
    """x, what the model predicts of it, and by name the roots of the weights, and weighted errors.

    Weights are read off the loss itself: of a squared error e it has slope 2we and curvature 2w,
    and r = slope / sqrt(2 curvature) = sqrt(w) e.
    """
    comparison = fit.problem.compare()
    predicted = comparison.predicted
    with tf.GradientTape() as outer:
        outer.watch(predicted)
        with tf.GradientTape() as inner:
            inner.watch(predicted)
            loss = fit.problem.loss_of(comparison)
        slopes = inner.gradient(loss, predicted, unconnected_gradients="zero")
    curvatures = outer.gradient(slopes, predicted, unconnected_gradients="zero")
    roots = {name: tf.sqrt(c / 2) for name, c in curvatures.items()}
    residuals = {name: tf.math.divide_no_nan(slopes[name], 2 * roots[name]) for name in predicted}
    return comparison.x, predicted, roots, residuals


def _by_row(fit, x, predicted):
    """d predicted / d weights [B,...,N] by name: row by row, since a row depends on no other."""
    order = max(map(labels.order_of, predicted))
    directions = fit.problem.data[1].get("directions", {})
    values = [variable.value for variable in fit.variables]

    def row(row):
        x, directions = keras.tree.map_structure(lambda t: t[None], row)
        with tf.GradientTape(persistent=True) as tape:
            terms = fit.problem.predict_terms(x, directions, order)
            entries = {n: tf.unstack(tf.reshape(t, [-1])) for n, t in terms.items()}
        return {
            name: tf.stack([_gradient(tape, entry, values) for entry in of_term])
            for name, of_term in entries.items()
        }

    rows = tf.vectorized_map(row, (x, directions))
    return {n: tf.reshape(j, [*predicted[n].shape, j.shape[-1]]) for n, j in rows.items()}


def _gradient(tape, entry, values):
    parts = tape.gradient(entry, values, unconnected_gradients="zero")
    return tf.concat([tf.reshape(part, [-1]) for part in parts], 0)


def _matrix(by_name, axes):
    """Terms joined along all but their last `axes` axes, in float64."""
    parts = [tf.reshape(t, [-1, *t.shape[len(t.shape) - axes :]]) for t in by_name.values()]
    return tf.cast(tf.concat(parts, 0), tf.float64)


def _step(linear, moved, rho, damping):
    """δ [N] of (JᵀJ + ρ + μ) δ = Jᵀr + ρ (w - w₀), and by how much the linearised sum falls."""
    back = rho / (rho + damping) * moved
    move = linear.solve(linear.residuals - linear.jacobian @ back, rho + damping) + back
    slope = linear.jacobian.T @ linear.residuals + rho * moved
    return move, move @ (damping * move + slope)


def _bent(linear, move, damping, weights, residuals_at):
    """What to add to a step, since r has a curve along it, d²r; zero where that would be much."""
    there = residuals_at(tf.constant(weights - AHEAD * move)).numpy()[linear.live]
    curve = (there - linear.residuals + AHEAD * (linear.jacobian @ move)) * 2 / AHEAD**2
    bent = linear.solve(curve, damping) / 2
    return bent if np.linalg.norm(bent) <= BEND * np.linalg.norm(move) else 0.0


def _evidence(linear, moved, rho):
    """The ρ of the most probable labels of the linearised problem, at most ten times off the last.

    Its labels y = J(w - w₀) - r are N(0, σ²(1 + JJᵀ/ρ)), the variance σ² whatever is best for ρ.
    """
    y = linear.jacobian @ moved - linear.residuals
    found, axes = np.linalg.eigh(linear.product)
    if linear.wide:
        found, squares, rest = np.maximum(found, 0), (axes.T @ y) ** 2, 0.0
    else:
        kept = found > len(found) * np.finfo(float).eps * found[-1]  # the others are rounding
        found, squares = found[kept], (axes.T[kept] @ (linear.jacobian.T @ y)) ** 2 / found[kept]
        rest = max(y @ y - np.sum(squares), 0.0)  # what no weights can follow
    for decades in (1, 1 / 20, 1 / 400):
        rhos = rho * np.logspace(-decades, decades, 41)[:, None]
        misfits = rest + np.sum(squares * rhos / (found + rhos), 1)
        surprises = len(y) * np.log(misfits) + np.sum(np.log1p(found / rhos), 1)
        rho = rhos[np.argmin(surprises)].item()
    return rho


def _square(t):
    return np.sum(t**2)
