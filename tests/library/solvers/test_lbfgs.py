"""fit_lbfgs: the compiled loss, all of it, to the bottom; and what it says to bad input."""

import builtins
import itertools
import re

import keras
import numpy as np
import pytest

import sobolev_tf as st

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, [12, 2])
Y = X[:, :1] ** 2 + X[:, 1:]
DY = np.stack([2 * X[:, 0], np.ones(12)], 1)


def compiled(net=None, loss_weights=None, **kwargs):
    net = net or st.nets.mlp(2, hidden=[6], activation="tanh", dtype="float64")
    model = st.SobolevModel(net, **kwargs)
    model.compile(loss_weights=loss_weights)
    return model


def test_least_squares_by_hand():
    """f = w x from slopes weighted 3: minimum of mean((wx - y)²) + 3 mean((w - dy)²)."""
    net = keras.Sequential(
        [keras.Input([1], dtype="float64"), keras.layers.Dense(1, use_bias=False, dtype="float64")]
    )
    model = compiled(net, loss_weights=[1.0, 3.0])
    x = np.array([[1.0], [2.0]])
    history = st.fit_lbfgs(model, x, (np.array([[1.0], [3.0]]), np.array([[2.0], [0.0]])))
    # d/dw: 2 [(w - 1) + 2 (2w - 3)] / 2 + 3 * 2 [(w - 2) + w] / 2 = 0  ->  11 w = 13
    w = 13 / 11
    np.testing.assert_allclose(net.get_weights()[0], [[w]], rtol=1e-12)
    loss = ((w - 1) ** 2 + (2 * w - 3) ** 2) / 2 + 3 * ((w - 2) ** 2 + w**2) / 2
    assert history.history["loss"][-1] == pytest.approx(loss, rel=1e-12)


@pytest.mark.slow
def test_it_goes_far_below_a_first_order_optimizer():
    model = compiled()
    losses = st.fit_lbfgs(model, X, (Y, DY), iterations=300).history["loss"]
    assert losses[-1] < 1e-6
    assert all(b <= a for a, b in itertools.pairwise(losses))
    jet = model.predict_jet(X)
    np.testing.assert_allclose(jet.derivatives[0][:, 0], DY, atol=5e-3)


def test_the_loss_is_that_of_evaluate_with_weights_scaling_and_regularization():
    net = st.nets.mlp(2, hidden=[6], activation="tanh", dtype="float64")
    net.layers[0].kernel_regularizer = net.layers[0].kernel.regularizer = keras.regularizers.L2(0.1)
    model = compiled(net, loss_weights=[2.0, 0.5])
    model.adapt(X, (Y, DY))
    weight = np.linspace(0.5, 2, len(X))
    history = st.fit_lbfgs(model, X, (Y, DY), sample_weight=weight, iterations=5)
    evaluated = model.evaluate(X, (Y, DY), 12, 0, weight)[0]
    assert history.history["loss"][-1] == pytest.approx(evaluated, rel=1e-5)  # rounds x on its way


@pytest.mark.parametrize(
    "labels",
    [(Y,), (None, DY), {"jvp": DY.sum(1)[:, None, None], "directions": np.ones([12, 1, 2])}],
)
def test_any_labels(labels):
    losses = st.fit_lbfgs(compiled(), X, labels, iterations=200).history["loss"]
    assert losses[-1] < 1e-4


@pytest.mark.parametrize("projection", ["input", "output"])
def test_live_targets_and_fixed_random_directions(projection):
    model = compiled(target=lambda x: x[:, :1] ** 2 + x[:, 1:], projection=projection)
    assert st.fit_lbfgs(model, X, iterations=200).history["loss"][-1] < 1e-4


def test_dropout_is_off_and_single_precision_works():
    net = keras.Sequential(
        [keras.Input([2]), keras.layers.Dense(6, "tanh"), keras.layers.Dropout(0.5)]
        + [keras.layers.Dense(1)]
    )
    assert st.fit_lbfgs(compiled(net), X, (Y, DY), iterations=200).history["loss"][-1] < 1e-2


def test_callbacks_see_iterations_and_can_stop():
    class StopAtThree(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            assert logs["loss"] == pytest.approx(
                self.model.evaluate(X, (Y, DY), 12, 0)[0], rel=1e-4
            )
            self.model.stop_training = epoch == 2

    history = st.fit_lbfgs(compiled(), X, (Y, DY), callbacks=[StopAtThree()])
    assert history.epoch == [0, 1, 2]
    assert "STOP" in history.message.upper()


@pytest.mark.parametrize("fit", [st.fit_lbfgs, st.fit_least_squares])
def test_a_line_shows_iteration_loss_and_time(fit, capsys, monkeypatch):
    def shown(**options):
        history = fit(compiled(), X, (Y, DY), iterations=4, **options)
        return history.history["loss"], capsys.readouterr().out

    losses, line = shown(verbose=1)
    assert "4/4" in line
    assert f"loss: {losses[-1]:.4f}" in line
    assert "/iteration" in line
    assert line.endswith("\n")
    assert not shown()[1]  # "auto", and no terminal
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "4/4" in shown()[1]
    assert not shown(verbose=0)[1]
    ended, line = shown(verbose=1, tolerance=0.99)
    assert f"{len(ended)}/4" in line
    assert line.endswith("\n")
    with pytest.raises(ValueError, match='verbose is "auto", 0 or 1, got 3'):
        shown(verbose=3)


def test_a_tolerance_is_a_share_of_the_loss_below_one_too():
    losses = st.fit_lbfgs(compiled(), X, (Y,), iterations=500, tolerance=0.02).history["loss"]
    falls = [1 - b / a for a, b in itertools.pairwise(losses)]
    assert losses[-1] < 0.1
    assert falls[-1] < 0.02 <= min(falls[:-1])


def test_an_interrupt_leaves_the_last_whole_iteration():
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 4:
                self.model.trainable_variables[0].assign(self.model.trainable_variables[0] * np.nan)
                raise KeyboardInterrupt

    model = compiled()
    with pytest.raises(KeyboardInterrupt):
        st.fit_lbfgs(model, X, (Y, DY), callbacks=[Interrupt()])
    assert np.isfinite(model.evaluate(X, (Y, DY), verbose=0)[0])


def test_without_scipy_one_line_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def no_scipy(name, *args, **kwargs):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_scipy)
    with pytest.raises(ImportError, match=re.escape('pip install -e ".[lbfgs]"')):
        st.fit_lbfgs(compiled(), X, (Y, DY))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: st.fit_lbfgs(st.SobolevModel(st.nets.mlp(2)), X, Y), ValueError, "call compile"),
        (
            lambda: st.fit_lbfgs(compiled(), X, Y, iterations=0),
            ValueError,
            "iterations is a whole number of at least 1, got 0",
        ),
        (lambda: st.fit_lbfgs(compiled(), X, (Y * np.nan,)), ValueError, "NaN"),
        (lambda: st.fit_lbfgs(compiled(), X * np.inf, (Y,)), ValueError, "x has infinity"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
