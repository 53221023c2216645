"""What fit_surrogate refuses, and what it says."""

import sys

import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.solvers import surrogate
from tests.support.waves import X, waves


def test_without_scipy_only_a_kernel_net_is_fitted_to_many_labels(monkeypatch):
    monkeypatch.setattr(surrogate, "_GOOD", 0)
    monkeypatch.setattr(surrogate, "_MLP_LABELS", 60)  # of 240
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.warns(UserWarning, match="needs SciPy: pip install .* no MLP was tried"):
        model = st.fit_surrogate(X, waves(X))
    assert model.surrogate.net == "kernel"
    with pytest.raises(ImportError, match="an MLP from more than 60 labels needs SciPy"):
        st.fit_surrogate(X, waves(X), net="mlp")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            X,
            (waves(X)[0], waves(X)[1][:, 0]),
            r"label d1 has shape \[30, 1, 3\], expected \[B, 2, 3\]",
        ),
        (X[:, 0], waves(X)[0], r"x has shape \[30\], expected \[B, D\]"),
        (X, np.full([30, 1], np.nan), "every label is missing"),
        (X, None, "there are no labels"),
        (X, {"jvp": X[:, 0], "directions": X}, "labels are value and d1, got jvp"),
        (X[:5], waves(X)[0], "5"),
    ],
)
def test_wrong_data_are_refused_in_one_line(x, y, message):
    with pytest.raises(ValueError, match=message) as caught:
        st.fit_surrogate(x, y)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("fit_surrogate")


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="net is"):
        st.fit_surrogate(X, waves(X), net="gp")
    with pytest.raises(ValueError, match="seed"):
        st.fit_surrogate(X, waves(X), seed=-1)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ("points.csv", "x is an array .* got 'points.csv'"),
        ({"a": X[:, :1], "b": X[:, 1:]}, "x is one array .* got a dict"),
        (None, "x is an array .* got None"),
        (X[:, None], r"x has shape \[30, 1, 3\]"),
    ],
)
def test_points_of_another_kind_are_refused(x, words):
    with pytest.raises(ValueError, match=f"fit_surrogate: {words}") as caught:
        st.fit_surrogate(x, waves(X)[0])
    assert "\n" not in str(caught.value)


def test_an_output_without_labels_is_refused():
    value, gradient = waves(X)
    value[:, 1], gradient[:, 1] = np.nan, np.nan
    with pytest.raises(ValueError, match="fit_surrogate: output 1 has no labels"):
        st.fit_surrogate(X, (value, gradient))
    first = np.arange(len(X)) > 0
    value, gradient = waves(X)
    value[first], gradient[first] = np.nan, np.nan
    with pytest.raises(ValueError, match="output 0 has no labels: all are missing, or of weight 0"):
        st.fit_surrogate(X, (value, gradient), sample_weight=first.astype("float64"))


def test_verbose_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="fit_surrogate: verbose is 'auto', 0, 1"):
        st.fit_surrogate(X, waves(X)[0], verbose="loud")


@pytest.mark.parametrize("size", [1e-200, 1e-150, 1e150, 1e200])
def test_numbers_whose_squares_do_not_exist_are_refused(size):
    x = np.linspace(-1, 1, 6)[:, None]
    with pytest.raises(ValueError, match="label value has numbers of up to"):
        st.fit_surrogate(x, (size * x**2, 2 * size * x))
    with pytest.raises(ValueError, match="fit_surrogate: x has numbers of up to"):
        st.fit_surrogate(size * x, x**2)


@pytest.mark.parametrize("weights", [None, [1.0, 0.0]])
def test_one_point_is_refused(weights):
    x = np.array([[0.5], [1.0]])[: 1 if weights is None else 2]
    with pytest.raises(ValueError, match=r"fit_surrogate: there is 1 point, .* at least 2"):
        st.fit_surrogate(x, (2 * x, 2 + 0 * x), sample_weight=weights and np.array(weights))


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones([len(X), 2]), r"sample_weight has shape \[.*, 2\], expected \[B\]"),
        (np.ones([len(X), 1, 1]), r"sample_weight has shape \[.*, 1, 1\], expected \[B\]"),
        (np.ones(len(X) - 1), "x has .* rows and sample_weight has"),
        (np.float64(1), "sample_weight is an array with a row for each example"),
        ({"value": np.ones(len(X))}, r"sample_weight is one array \[B\], got a dict"),
        ((np.ones(len(X)), np.ones(len(X))), r"sample_weight is one array \[B\], got a tuple"),
        (2.0, r"sample_weight is one array \[B\], got 2.0"),
    ],
)
def test_weights_of_another_shape_are_refused(weights, words):
    with pytest.raises(ValueError, match=f"fit_surrogate: {words}") as caught:
        st.fit_surrogate(X, waves(X), sample_weight=weights)
    assert "\n" not in str(caught.value)


def test_an_mlp_is_not_fitted_in_the_scope_of_a_strategy():
    scope = tf.distribute.MirroredStrategy(["CPU:0"]).scope()
    with scope, pytest.raises(ValueError, match="one device: leave the scope of MirroredStrategy"):
        st.fit_surrogate(X, waves(X), net="mlp")
