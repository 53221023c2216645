"""Labels H v, Hessian-vector products along directions of one's own, beside jvp and vjp."""

import keras
import numpy as np
import pytest

from sobolev_tf import fit_least_squares, targets
from tests.support.small import X, compiled, smooth, truth

Y, DY, HESSIAN = targets.tabulate(truth, X, order=2)
V = np.random.default_rng(1).normal(size=[64, 2, 3]).astype("float32")
HV = np.einsum("bkij,bpj->bpki", HESSIAN, V)


def test_the_loss_is_that_of_the_full_hessians_error_along_v():
    model = compiled(order=2, loss_weights={"hvp": 0.5}, jet_metrics=["rmse"])
    labels = {"value": Y, "d1": DY, "hvp": HV, "directions": {"hvp": V}}
    logs = model.evaluate(X, labels, verbose=0, return_dict=True)
    error = np.einsum("bkij,bpj->bpki", model.predict_jet(X).derivatives[1] - HESSIAN, V)
    expected = np.mean(np.sum(error**2, (2, 3)))
    assert logs["hvp_loss"] == pytest.approx(expected, rel=1e-4)
    assert logs["hvp_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)
    total = logs["value_loss"] + logs["d1_loss"] + 0.5 * expected
    assert logs["loss"] == pytest.approx(total, rel=1e-4)


def test_beside_full_hessians_the_net_answers_the_same():
    model = compiled(order=2)
    labels = {"hvp": HV, "directions": V}
    alone = model.evaluate(X, labels, verbose=0, return_dict=True)
    both = model.evaluate(X, {"d2": HESSIAN, **labels}, verbose=0, return_dict=True)
    assert both["hvp_loss"] == pytest.approx(alone["hvp_loss"], rel=1e-4)
    beside = {"hvp": HV, "jvp": np.einsum("bki,bpi->bpk", DY, V)}
    beside["directions"] = {"hvp": V, "jvp": V}
    logs = model.evaluate(X, beside, verbose=0, return_dict=True)
    assert logs["hvp_loss"] == pytest.approx(alone["hvp_loss"], rel=1e-4)


def test_products_are_scaled_by_the_chain_rule():
    model = compiled(order=2, jet_metrics=["rmse"])
    x = X * np.array([1.0, 10.0, 0.1], "float32") + 3
    y, dy, hessian = targets.tabulate(truth, x, order=2)
    hv = np.einsum("bkij,bpj->bpki", hessian, V)
    model.adapt(x, (y, dy))
    labels = {"hvp": hv, "directions": V}
    logs = model.evaluate(x, labels, verbose=0, return_dict=True)
    raw = np.einsum("bkij,bpj->bpki", model.predict_jet(x).derivatives[1] - hessian, V)
    error = raw * x.std(0) / y.std(0)[:, None]
    assert logs["hvp_loss"] == pytest.approx(np.mean(np.sum(error**2, (2, 3))), rel=1e-3)
    assert logs["hvp_rmse"] == pytest.approx(np.sqrt(np.mean(raw**2)), rel=1e-3)


def test_one_output_and_one_direction_take_the_short_form():
    x, v = X[:, :2], np.roll(X[:, :2], 1, 0)
    y, dy, hv = np.sum(x**3, 1, keepdims=True), 3 * x**2, 6 * x * v
    model = compiled(smooth(1, 2), keras.optimizers.Adam(0.01), order=2)
    labels = {"hvp": hv, "directions": {"hvp": v}}
    logs = model.evaluate(x, labels, verbose=0, return_dict=True)
    error = np.einsum("bij,bj->bi", model.predict_jet(x).derivatives[1][:, 0], v) - hv
    assert logs["hvp_loss"] == pytest.approx(np.mean(np.sum(error**2, 1)), rel=1e-4)
    whole = {"value": y, "d1": dy, **labels}
    history = model.fit(x, whole, batch_size=64, epochs=3, verbose=0).history
    assert set(history) == {"loss", "value_loss", "d1_loss", "hvp_loss"}
    assert history["loss"][-1] < history["loss"][0]


def test_a_projection_of_the_derivatives_leaves_them_alone():
    model = compiled(order=2, projection="input", seed=0)
    labels = {"d1": DY, "hvp": HV, "directions": V}
    logs = model.evaluate(X, labels, verbose=0, return_dict=True)
    error = np.einsum("bkij,bpj->bpki", model.predict_jet(X).derivatives[1] - HESSIAN, V)
    assert logs["hvp_loss"] == pytest.approx(np.mean(np.sum(error**2, (2, 3))), rel=1e-4)


@pytest.mark.slow
def test_least_squares_learns_from_them():
    x, v = X[:12, :2], np.roll(X[:12, :2], 1, 0)
    model = compiled(smooth(1, 2), order=2, run_eagerly=False)
    labels = {"hvp": 6 * x * v, "directions": {"hvp": v}}
    history = fit_least_squares(model, x, labels, iterations=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] / 2


@pytest.mark.parametrize(
    ("order", "labels", "message"),
    [
        (1, {"hvp": HV, "directions": V}, "order=1 knows value, d1, jvp, vjp; hvp needs order=2"),
        (2, {"hvp": HV}, "y has hvp but no directions for it"),
        (2, {"hvp": HV[:, :, 0], "directions": V}, r"label hvp has shape \[\w+, 2, 3\], expected"),
        (2, {"hvp": HV, "directions": V[..., :2]}, r"directions of hvp have shape"),
        (2, {"hvp": HV, "jvp": Y, "directions": V}, "as a dict of jvp and hvp"),
    ],
)
def test_wrong_labels_are_named(order, labels, message):
    with pytest.raises(ValueError, match=message):
        compiled(order=order).fit(X, labels, verbose=0)
