"""Fifty calls of each fit in one process: memory stays flat, since nothing is traced again."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from sobolev_tf import SobolevModel, fit_lbfgs, fit_least_squares, nets

X = np.random.default_rng(0).normal(size=[20, 2])
LABELS = np.sin(X).sum(1, keepdims=True), np.cos(X)[:, None]
CALLS = 50
MEGABYTES = 0.3  # a call at most: a trace takes 2 to 6


def resident() -> float:
    """Megabytes of this process that are in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def adapt_and_fit(model):
    model.adapt(X, LABELS)
    model.fit(X, LABELS, verbose=0)


FITS = {
    "adapt and fit": adapt_and_fit,
    "fit_least_squares": lambda model: fit_least_squares(model, X, LABELS, iterations=2),
    "fit_lbfgs": lambda model: fit_lbfgs(model, X, LABELS, iterations=2),
    "predict_jet": lambda model: model.predict_jet(X),
}


def model_of(**settings):
    model = SobolevModel(nets.mlp(2, hidden=[8], activation="tanh", dtype="float64"))
    model.compile("adam", **settings)
    return model


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("name", FITS)
def test_fifty_calls_are_flat(name):
    model = model_of()
    for _ in range(4):
        FITS[name](model)
    before = resident()
    for _ in range(CALLS):
        FITS[name](model)
    assert resident() - before < MEGABYTES * CALLS


def test_a_second_fit_of_other_data_traces_nothing():
    """And gives what a new model gives."""
    one, other = model_of(), model_of()
    start = one.get_weights()
    other.set_weights(start)
    fit_least_squares(one, X, LABELS, iterations=2)
    compiled = dict(one.solver_functions._compiled)
    one.set_weights(start)
    labels = LABELS[0] + X[:, :1], LABELS[1] + [1.0, 0.0]
    again = fit_least_squares(one, X[::-1], [label[::-1] for label in labels], iterations=2)
    assert all(one.solver_functions._compiled[key] is value for key, value in compiled.items())
    assert all(each.experimental_get_tracing_count() == 1 for each in compiled.values())
    new = fit_least_squares(other, X, labels, iterations=2)
    np.testing.assert_allclose(again.history["loss"], new.history["loss"], rtol=1e-8)


def test_component_weights_that_adapt_settles_are_traced_once():
    model = model_of(component_weights="rms")
    adapt_and_fit(model)
    function = model.train_function._function
    adapt_and_fit(model)
    assert model.train_function._function is function
    model.adapt(X, (LABELS[0], 2 * LABELS[1]))
    assert model.train_function._function is not function
