"""Levenberg and Marquardt's method for small data: Gauss-Newton steps, damped as far as needed.

With squared losses, and fewer labels than weights, the linearised problem of a step has one
equation for each label: a hundred points with gradients in two dimensions make a system of 300.
Solved exactly, a few dozen steps go where L-BFGS needs thousands.
"""

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import labels, losses, terms
from sobolev_tf.full_batch import FullBatch
from sobolev_tf.projections import Whole

LARGEST = 1e12  # damping at which no step is left to take
WARM, SETTLED = 10, 1e-2  # evidence is asked after so many steps, or once a step gains so little


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
    derivative in the weights; μ falls where the loss does as the linearised problem foretold,
    and grows where it does not (Nielsen, 1999). The optimizer of `compile` is not used.

    regularization: ρ of loss + ρ‖w - w₀‖², w₀ the weights that the fit starts from; what
      callbacks and History call the loss is without it. "evidence": every step takes the ρ under
      which the labels are most probable, for the linearised problem with weights drawn around w₀
      and labels with errors (MacKay, 1992). So ρ goes to zero where the net can follow the
      labels, and stays where they are noise to it: noise indeed, or waves between too few points.
      Such fits end where the sum does not fall any more, and not at the lowest loss.
    x, y, sample_weight: arrays as for `fit`; they are not rounded on their way to the net.
    iterations: at most so many steps that lower the loss.
    damping: the first μ, in units of the trace of JᵀJ.
    tolerance: end where a step lowers the loss by less than this share of it.
    callbacks: Keras's; an iteration is an epoch. `model.stop_training = True` ends the fit.

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
    if not damping > 0:
        raise ValueError(f"fit_least_squares: damping is above 0, got {damping}.")
    evidence = regularization == "evidence"
    if not evidence and (isinstance(regularization, str) or not 0 <= regularization < np.inf):
        raise ValueError(
            'fit_least_squares: regularization is "evidence" or a finite number of at least 0, got '
            f"{regularization!r}."
        )
    growth, rho, settled = 2.0, regularization, False
    fit = FullBatch("fit_least_squares", model, x, y, sample_weight, iterations, callbacks)
    _refuse(model)
    with fit:
        linearise, loss_at = fit.compiled(lambda: _linearised(fit)), fit.compiled(_loss_at(fit))
        weights = start = fit.whole
        for iteration in range(iterations):
            fit.assign(tf.constant(weights))
            loss, residuals, jacobian = (t.numpy() for t in linearise())
            fit.refuse_not_finite(loss, jacobian)
            product = _smaller(jacobian)
            size, moved = np.trace(product), weights - start
            if evidence and iteration == 0:
                rho = damping * size
            elif evidence and (iteration >= WARM or settled):
                rho = _evidence(residuals, jacobian, product, moved, rho)
            total = loss + rho * moved @ moved
            while damping < LARGEST:
                move, expected = _step(residuals, jacobian, product, moved, rho, damping * size)
                lower = loss_at(tf.constant(weights - move)).numpy()
                fall = total - lower - rho * (moved - move) @ (moved - move)
                if fall > 0:
                    break
                damping, growth = damping * growth, 2 * growth
            else:
                break  # no step lowers the sum: its minimum, as far as the precision reaches
            weights = weights - move
            gain, settled = fall / expected, fall < SETTLED * total
            damping, growth = max(damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), 1e-14), 2.0
            if fit.told(weights, lower) or fall <= tolerance * total:
                break
    return fit.history


def _refuse(model):
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
    if model.losses:
        raise ValueError("fit_least_squares: without regularisation; fit_lbfgs takes it.")


def _loss_at(fit):
    """weights [N] -> the loss."""

    def loss_at(weights):
        fit.assign(weights)
        return tf.cast(fit.model._step(fit.data, training=False)[0], tf.float64)

    return loss_at


def _linearised(fit):
    """Loss, residuals r [M], and their Jacobian J [M,N] at the model's weights.

    The loss is r² summed. Labels' weights are read off the loss itself: of a squared error e it
    has slope 2we and curvature 2w, and r = slope / sqrt(2 curvature) = sqrt(w) e.
    """
    model = fit.model
    loss, (x, true, said, sample_weight) = model._step(fit.data, training=False)
    with tf.GradientTape() as outer:
        outer.watch(said)
        with tf.GradientTape() as inner:
            inner.watch(said)
            again = model.compute_loss(x, true, said, sample_weight, training=False)
        slopes = inner.gradient(again, said, unconnected_gradients="zero")
    curvatures = outer.gradient(slopes, said, unconnected_gradients="zero")
    roots = {name: tf.sqrt(c / 2) for name, c in curvatures.items()}
    residuals = {name: tf.math.divide_no_nan(slopes[name], 2 * roots[name]) for name in said}
    jacobians = _by_row(fit, x, said)
    matrix = _matrix({n: j * roots[n][..., None] for n, j in jacobians.items()}, 1)
    return tf.cast(loss, tf.float64), _matrix(residuals, 0), matrix


def _by_row(fit, x, said):
    """d said / d weights [B,...,N] by name: row by row, since a row depends on no other."""
    model = fit.model
    order = max(map(labels.order_of, said))
    _, y, _ = keras.utils.unpack_x_y_sample_weight(fit.data)
    z = model.scaling.points(model._inputs.point(x))
    along = terms.directions(y, z, model.output_dims, model.scaling)
    values = [variable.value for variable in fit.variables]

    def row(row):
        x, along = keras.tree.map_structure(lambda t: t[None], row)
        with tf.GradientTape(persistent=True) as tape:
            z = model.scaling.points(model._inputs.point(x))
            found = terms.predicted(model._net_at(x, False), z, order, Whole(), along)
            entries = {n: tf.unstack(tf.reshape(t, [-1])) for n, t in found.items()}
        return {
            name: tf.stack([_gradient(tape, entry, values) for entry in each])
            for name, each in entries.items()
        }

    found = tf.vectorized_map(row, (x, along))
    return {n: tf.reshape(j, [*said[n].shape, j.shape[-1]]) for n, j in found.items()}


def _gradient(tape, entry, values):
    parts = tape.gradient(entry, values, unconnected_gradients="zero")
    return tf.concat([tf.reshape(part, [-1]) for part in parts], 0)


def _matrix(by_name, axes):
    """Terms joined along all but their last `axes` axes, in float64."""
    parts = [tf.reshape(t, [-1, *t.shape[len(t.shape) - axes :]]) for t in by_name.values()]
    return tf.cast(tf.concat(parts, 0), tf.float64)


def _smaller(jacobian):
    """JJᵀ or JᵀJ, whichever is smaller; NumPy sees that it is symmetric, at half the work."""
    labels, weights = jacobian.shape
    return jacobian @ jacobian.T if labels <= weights else jacobian.T @ jacobian


def _step(residuals, jacobian, product, moved, rho, damping):
    """δ [N] of (JᵀJ + ρ + μ) δ = Jᵀr + ρ (w - w₀), and by how much the linearised sum falls."""
    back = rho / (rho + damping) * moved
    right = residuals - jacobian @ back
    damped = product + (rho + damping) * np.eye(len(product))
    if len(product) == len(residuals):  # (JᵀJ + μ)⁻¹ Jᵀ = Jᵀ (JJᵀ + μ)⁻¹, a smaller system
        move = jacobian.T @ np.linalg.solve(damped, right) + back
    else:
        move = np.linalg.solve(damped, jacobian.T @ right) + back
    return move, move @ (damping * move + jacobian.T @ residuals + rho * moved)


def _evidence(residuals, jacobian, product, moved, rho):
    """The ρ of the most probable labels of the linearised problem, at most ten times off the last.

    Its labels y = J(w - w₀) - r are N(0, σ²(1 + JJᵀ/ρ)), the variance σ² whatever is best for ρ.
    """
    y = jacobian @ moved - residuals
    found, axes = np.linalg.eigh(product)
    found = np.maximum(found, 0)
    if len(product) == len(y):
        squares, rest = (axes.T @ y) ** 2, 0.0
    else:
        squares = (axes.T @ (jacobian.T @ y)) ** 2 / np.maximum(found, np.finfo(float).tiny)
        rest = max(y @ y - np.sum(squares), 0.0)
    labels = np.count_nonzero(jacobian.any(1))
    for decades in (1, 1 / 20, 1 / 400):
        rhos = rho * np.logspace(-decades, decades, 41)[:, None]
        misfits = rest + np.sum(squares * rhos / (found + rhos), 1)
        surprises = labels * np.log(misfits) + np.sum(np.log1p(found / rhos), 1)
        rho = rhos[np.argmin(surprises)].item()
    return rho
