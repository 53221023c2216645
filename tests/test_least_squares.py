"""fit_least_squares: Gauss-Newton steps by hand, the loss of evaluate, and what it refuses."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf import least_squares
from sobolev_tf.full_batch import FullBatch

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
        linearise = fit.compiled(lambda: least_squares._linearised(fit))
        loss, residuals, jacobian, size = linearise()
        assert float(loss) == pytest.approx(np.sum(residuals.numpy() ** 2), rel=1e-12)
        assert float(size) == pytest.approx(np.sum(jacobian.numpy() ** 2), rel=1e-12)
        for i in RNG.choice(len(fit.whole), 5, replace=False):
            ends = []
            for step in (1e-6, -1e-6):
                moved = fit.whole.copy()
                moved[i] += step
                fit.assign(tf.constant(moved))
                ends.append(linearise()[1].numpy())
            slope = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(jacobian[:, i], slope, atol=1e-8)


@pytest.mark.parametrize("count", [4, 40])
def test_both_forms_of_a_step_are_the_normal_equations(count):
    """Fewer labels than weights, and more."""
    jacobian, residuals = RNG.normal(size=[count, 9]), RNG.normal(size=count)
    move, fall = least_squares._step(tf.constant(residuals), tf.constant(jacobian), 0.3)
    expected = np.linalg.solve(jacobian.T @ jacobian + 0.3 * np.eye(9), jacobian.T @ residuals)
    np.testing.assert_allclose(move, expected, rtol=1e-9)
    linear = np.sum(residuals**2) - np.sum((residuals - jacobian @ expected) ** 2)
    assert float(fall) == pytest.approx(linear, rel=1e-9)


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
    history = st.fit_least_squares(model, X, iterations=500, tolerance=0.5).history["loss"]
    assert len(history) < 50


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({"loss": ["mae", "mse"]}, {}, "the loss of value is not a squared error"),
        ({}, {"damping": 0.0}, "damping is above 0"),
        ({}, {"iterations": 0}, "at least 1 iteration"),
        ({}, {"y": (Y, DY * np.nan)}, "NaN"),
    ],
)
def test_what_it_does_not_take_is_said(options, change, message):
    with pytest.raises(ValueError, match=message):
        st.fit_least_squares(compiled(**options), **{"x": X, "y": (Y, DY)} | change)


def test_projections_regularisers_and_infinity_are_refused():
    net = st.nets.mlp(2, hidden=[6], activation="tanh", dtype="float64")
    projected = st.SobolevModel(net, projection="input")
    projected.compile()
    with pytest.raises(ValueError, match="without projection="):
        st.fit_least_squares(projected, X, (Y, DY))
    net.layers[0].kernel_regularizer = net.layers[0].kernel.regularizer = keras.regularizers.L2(0.1)
    with pytest.raises(ValueError, match="without regularisation"):
        st.fit_least_squares(compiled(net), X, (Y, DY))
    with pytest.raises(FloatingPointError, match="fit_least_squares: the loss is inf"):
        st.fit_least_squares(compiled(), X, (Y + np.inf, DY))
