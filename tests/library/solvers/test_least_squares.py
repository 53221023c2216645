"""fit_least_squares: Gauss-Newton steps by hand, the loss of evaluate, and what it refuses."""

import itertools

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.model.weight_jacobian import weight_jacobians
from sobolev_tf.solvers import least_squares, linear
from sobolev_tf.solvers.full_batch import FullBatch
from sobolev_tf.solvers.residuals import linearization
from tests.support.cases import slow

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, [12, 2])
Y = X[:, :1] ** 2 + X[:, 1:]
DY = np.stack([2 * X[:, 0], np.ones(12)], 1)


def compiled(net=None, **options):
    net = net or st.nets.mlp(2, hidden=[6], activation="tanh", dtype="float64")
    model = st.SobolevModel(net)
    model.compile(**options)
    return model


def test_a_linear_problem_is_solved_in_the_steps_that_damping_takes():
    """f = w x from slopes weighted 3: minimum of mean((wx - y)²) + 3 mean((w - dy)²)."""
    net = keras.Sequential(
        [keras.Input([1], dtype="float64"), keras.layers.Dense(1, use_bias=False, dtype="float64")]
    )
    model = compiled(net, loss_weights=[1.0, 3.0])
    labels = np.array([[1.0], [3.0]]), np.array([[2.0], [0.0]])
    x = np.array([[1.0], [2.0]])
    history = st.fit_least_squares(model, x, labels, iterations=1, damping=1e-14)
    # d/dw: 2 [(w - 1) + 2 (2w - 3)] / 2 + 3 * 2 [(w - 2) + w] / 2 = 0  ->  11 w = 13
    w = 13 / 11
    np.testing.assert_allclose(net.get_weights()[0], [[w]], rtol=1e-10)
    loss = ((w - 1) ** 2 + (2 * w - 3) ** 2) / 2 + 3 * ((w - 2) ** 2 + w**2) / 2
    assert history.history["loss"] == [pytest.approx(loss, rel=1e-10)]


@pytest.mark.parametrize("hidden", [3, 6])
def test_residuals_and_jacobian_are_those_of_the_loss(hidden):
    """r² is the loss, 2Jᵀr its gradient; J is that of finite differences, weights and all."""
    net = st.nets.mlp(2, 2, hidden=[hidden], activation="tanh", dtype="float64")
    model = compiled(
        net,
        loss=[st.losses.SquaredNorm("mean"), "mse"],
        loss_weights=[0.7, 2.0],
        component_weights={"d1": [[1.0, 2.0], [3.0, 0.5]]},
        missing="nan",
    )
    labels = RNG.normal(size=[12, 2]), RNG.normal(size=[12, 2, 2])
    labels[1][3, 1] = np.nan
    model.adapt(X, labels)
    weight = np.linspace(0, 2, 12)
    with FullBatch("here", model, X, labels, weight, 1, None) as fit:
        linearize = linearization(fit)
        residuals, jacobian = linearize(tf.constant(fit.last_weights))
        loss, _ = model._step(fit.problem.data, training=False)
        assert float(loss) == pytest.approx(np.sum(residuals.numpy() ** 2), rel=1e-12)
        for i in RNG.choice(len(fit.last_weights), 5, replace=False):
            ends = []
            for step in (1e-6, -1e-6):
                moved = fit.last_weights.copy()
                moved[i] += step
                ends.append(linearize(tf.constant(moved))[0].numpy())
            slope = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(jacobian[:, i], slope, atol=1e-8)


@pytest.mark.parametrize("count", [4, 40])
def test_both_forms_of_a_step_are_the_normal_equations(count):
    """Fewer labels than weights, and more; with a pull back to where the weights were."""
    jacobian, residuals, moved = (RNG.normal(size=s) for s in ([count, 9], count, 9))
    problem = linear.LinearProblem(residuals, jacobian)
    assert len(problem.product) == min(count, 9)
    move, fall = linear.solve_step(problem, moved, 0.2, 0.3)
    normal, right = jacobian.T @ jacobian, jacobian.T @ residuals + 0.2 * moved
    expected = np.linalg.solve(normal + 0.5 * np.eye(9), right)
    np.testing.assert_allclose(move, expected, rtol=1e-9)
    by_hand = np.sum(residuals**2) - np.sum((residuals - jacobian @ expected) ** 2)
    by_hand += 0.2 * (np.sum(moved**2) - np.sum((moved - expected) ** 2))
    assert float(fall) == pytest.approx(by_hand, rel=1e-9)


def test_a_step_is_bent_along_the_residuals_curve():
    """r = 3w + w² has r'' = 2 along the step, of which J = 3 undoes half: w = δ²/3."""

    def residuals_at(w):
        return 3 * w + w**2

    problem = linear.LinearProblem(np.zeros(2), 3 * np.eye(2))
    move = np.array([0.2, -0.1])
    bent = linear.bend_step(problem, move, 0.0, np.zeros(2), residuals_at)
    np.testing.assert_allclose(bent, move**2 / 3, rtol=1e-9)
    long = linear.bend_step(problem, 10 * move, 0.0, np.zeros(2), residuals_at)
    assert long == 0  # 1.3 and -0.3 against 2 and -1


def linear_problem(rows, noise, rank=9):
    """A net that is linear in its nine weights, and labels of weights of its own plus noise."""
    layer = keras.layers.Dense(1, use_bias=False, dtype="float64")
    model = compiled(keras.Sequential([keras.Input([9], dtype="float64"), layer]))
    rng = np.random.default_rng(1)
    x = rng.normal(size=[rows, 9])
    x[:, rank:] = x[:, : 9 - rank]
    return model, layer, x, x @ rng.normal(size=[9, 1]) + noise * rng.normal(size=[rows, 1])


@pytest.mark.parametrize("rows", [5, 30])
def test_regularization_pulls_to_the_first_weights(rows):
    model, layer, x, y = linear_problem(rows, 0.5)
    first = layer.get_weights()[0]
    st.fit_least_squares(model, x, (y,), iterations=30, regularization=0.1)
    normal = x.T @ x / rows + 0.1 * np.eye(9)
    np.testing.assert_allclose(
        layer.get_weights()[0] - first, np.linalg.solve(normal, x.T @ (y - x @ first) / rows)
    )


@pytest.mark.parametrize(("rows", "rank"), [(7, 9), (12, 9), (60, 9), (60, 6)])
def test_evidence_is_highest(rows, rank):
    """Of a linear problem, where it has a closed form."""
    model, layer, x, y = linear_problem(rows, 0.5, rank)
    first = layer.get_weights()[0]
    st.fit_least_squares(model, x, (y,), iterations=300, regularization="evidence")
    move = layer.get_weights()[0] - first
    residuals = y - x @ first

    def minus_log_evidence(logs):  # of r ~ N(0, s² (I + X Xᵀ / (rows ρ)))
        covariance = np.exp(logs[0]) * (np.eye(rows) + x @ x.T / (rows * np.exp(logs[1])))
        log_det = np.linalg.slogdet(covariance)[1]
        return log_det + (residuals.T @ np.linalg.solve(covariance, residuals)).item()

    best = scipy.optimize.minimize(minus_log_evidence, [0.0, 0.0], tol=1e-10)
    normal = x.T @ x / rows + np.exp(best.x[1]) * np.eye(9)
    np.testing.assert_allclose(move, np.linalg.solve(normal, x.T @ residuals / rows), rtol=1e-3)


# Labels: fewer than the 205 weights, and more.
@pytest.mark.parametrize("points", [40, *slow(250)])
def test_evidence_does_not_learn_noise(points):
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, [points, 2])
    y = np.sin(2 * x[:, :1])
    test = rng.uniform(-1, 1, [500, 2])

    def error(noise, regularization):
        keras.utils.set_random_seed(0)
        model = compiled(st.nets.mlp(2, hidden=[12, 12], activation="tanh", dtype="float64"))
        noisy = y + noise * np.random.default_rng(4).normal(size=y.shape)
        st.fit_least_squares(model, x, (noisy,), iterations=60, regularization=regularization)
        return np.sqrt(np.mean((model.predict(test, verbose=0) - np.sin(2 * test[:, :1])) ** 2))

    assert error(0.3, "evidence") < 0.2
    assert error(0.0, "evidence") < 1e-3
    if points == 40:
        assert error(0.3, 0.0) > 0.4


def test_labels_that_no_weight_moves():
    """Half of weight zero: as if they were not there."""
    predictions = []
    for x, y, weight in ((X, Y, [2.0] * 6 + [0.0] * 6), (X[:6], Y[:6], None)):
        keras.utils.set_random_seed(0)
        model = compiled()
        weight = weight and np.array(weight)
        st.fit_least_squares(
            model,
            x,
            (y,),
            sample_weight=weight,
            iterations=15,
            regularization="evidence",
            damping=0.01,
        )
        predictions.append(model.predict(X, verbose=0))
    np.testing.assert_allclose(*predictions, rtol=1e-5)
    weight = np.zeros(12)
    history = st.fit_least_squares(
        compiled(), X, (Y,), sample_weight=weight, regularization="evidence"
    )
    assert history.history == {}


def test_a_fit_that_is_perfect_from_the_start():
    model = compiled()
    y = model(X).numpy()
    for regularization in (0.0, "evidence"):
        history = st.fit_least_squares(model, X, (y,), regularization=regularization)
        assert sum(history.history.get("loss", [])) < 1e-25


def test_evidence_decides_before_a_tolerance_ends_the_fit(monkeypatch):
    searches = []
    search = least_squares.most_probable_rho
    monkeypatch.setattr(
        least_squares, "most_probable_rho", lambda *a: searches.append(a) or search(*a)
    )
    model, _, x, y = linear_problem(30, 0.5)
    st.fit_least_squares(model, x, (y,), regularization="evidence", tolerance=0.1)
    assert searches


def test_weights_of_the_loss_may_be_schedules():
    """A function of the optimizer's step, read at the step that the optimizer is at."""
    finals = []
    for weights in ([lambda step: 1.0 / (1.0 + step), 0.25], [0.2, 0.25]):
        keras.utils.set_random_seed(0)
        model = compiled(loss_weights=weights)
        model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(4)
        history = st.fit_least_squares(model, X, (Y, DY), iterations=10)
        finals.append((history.history["loss"], model.get_weights()))
        evaluated = model.evaluate(X, (Y, DY), 12, 0)[0]
        assert history.history["loss"][-1] == pytest.approx(evaluated, rel=1e-4, abs=1e-9)
    assert finals[0][0] == pytest.approx(finals[1][0], rel=1e-3)
    for scheduled, constant in zip(finals[0][1], finals[1][1], strict=True):
        np.testing.assert_allclose(scheduled, constant, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("regularization", [-1.0, np.nan, np.inf, None, "Evidence"])
def test_regularization_is_checked(regularization):
    with pytest.raises(ValueError, match=r"regularization is .*a finite number of at"):
        st.fit_least_squares(compiled(), X, (Y,), regularization=regularization)


def test_it_goes_to_the_bottom_in_a_few_steps():
    model = compiled(st.nets.mlp(2, hidden=[8, 8], activation="tanh", dtype="float64"))
    model.adapt(X, (Y, DY))
    losses = st.fit_least_squares(model, X, (Y, DY), iterations=60).history["loss"]
    assert losses[-1] < 1e-8
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert model.evaluate(X, (Y, DY), 12, 0)[0] < 1e-7  # rounds x on its way


@pytest.mark.parametrize(
    "labels",
    [
        (Y,),
        (None, DY),
        {"value": Y, "jvp": DY.sum(1)[:, None, None], "directions": np.ones([12, 1, 2])},
    ],
)
def test_any_labels(labels):
    losses = st.fit_least_squares(compiled(), X, labels, iterations=60).history["loss"]
    assert losses[-1] < 1e-4


def test_a_live_target_callbacks_and_the_end_at_a_tolerance():
    class StopAtThree(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 2

    model = st.SobolevModel(
        st.nets.mlp(2, hidden=[6], activation="tanh", dtype="float64"),
        target=lambda x: x[:, :1] ** 2 + x[:, 1:],
    )
    model.compile()
    assert st.fit_least_squares(model, X, callbacks=[StopAtThree()]).epoch == [0, 1, 2]
    losses = st.fit_least_squares(model, X, iterations=50, tolerance=0.5).history["loss"]
    falls = [1 - b / a for a, b in itertools.pairwise(losses)]
    assert falls[-1] <= 0.5 < min(falls[:-1], default=1)


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({"loss": ["mae", "mse"]}, {}, "the loss of value is not a squared error"),
        ({}, {"damping": 0.0}, "damping is a finite number above 0"),
        ({}, {"y": (Y[:1], DY[:1])}, "x has 12 rows and label value has 1"),
        ({}, {"iterations": 2.5}, "iterations is a whole number of at least 1"),
        ({}, {"iterations": 0}, "iterations is a whole number of at least 1"),
        ({}, {"y": (Y, DY * np.nan)}, "NaN"),
    ],
)
def test_what_it_does_not_take_is_refused(options, change, message):
    with pytest.raises(ValueError, match=message):
        st.fit_least_squares(compiled(**options), **{"x": X, "y": (Y, DY)} | change)


def test_projections_regularizers_and_infinity_are_refused():
    net = st.nets.mlp(2, hidden=[6], activation="tanh", dtype="float64")
    projected = st.SobolevModel(net, projection="input")
    projected.compile()
    with pytest.raises(ValueError, match="the model has a projection"):
        st.fit_least_squares(projected, X, (Y, DY))
    net.layers[0].kernel_regularizer = net.layers[0].kernel.regularizer = keras.regularizers.L2(0.1)
    with pytest.raises(ValueError, match="the net has regularizers"):
        st.fit_least_squares(compiled(net), X, (Y, DY))
    active = keras.layers.Dense(1, activity_regularizer="l2", dtype="float64")
    net = keras.Sequential([keras.Input([2], dtype="float64"), active])
    with pytest.raises(ValueError, match="the net has regularizers"):
        st.fit_least_squares(compiled(net), X, (Y, DY))
    with pytest.raises(FloatingPointError, match="fit_least_squares: the loss is inf"):
        st.fit_least_squares(compiled(), X, (1e200 * (1 + Y**2), DY))
    with pytest.raises(ValueError, match="label value has infinity, first in row 0"):
        st.fit_least_squares(compiled(), X, (Y + np.inf, DY))


def weight_jacobian_of_tanh(outputs):
    """The compiled weight Jacobian of tanh(x w) at three rows x, with w [2,outputs]."""
    w = keras.Variable(np.linspace(-1, 1, 2 * outputs).reshape(2, outputs), dtype="float64")

    def jacobians():
        return weight_jacobians(
            lambda row: {"value": tf.tanh(row @ w.value)}, tf.constant(X[:3]), [w], "here"
        )

    return w, tf.function(jacobians, autograph=False).get_concrete_function()


def test_many_outputs_are_one_gradient_in_the_graph_and_exact():
    """d tanh(x w_k) / d w_jk = (1 - tanh²(x w_k)) x_j."""
    (few, of_few), (many, of_many), (_, of_more) = map(weight_jacobian_of_tanh, (3, 40, 80))
    assert len(of_many.graph.get_operations()) == len(of_more.graph.get_operations())
    for w, jacobian in ((few, of_few), (many, of_many)):
        w = w.numpy()
        slopes = 1 - np.tanh(X[:3] @ w) ** 2
        expected = np.einsum("bk,bj,kl->bkjl", slopes, X[:3], np.eye(w.shape[1]))
        np.testing.assert_allclose(
            jacobian()["value"], expected.reshape(3, w.shape[1], -1), rtol=1e-12
        )
