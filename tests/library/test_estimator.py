"""SobolevRegressor: scikit-learn's contract, gradients as fit parameters, and deviations."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator

import sobolev_tf as st

X = np.random.default_rng(0).uniform(-1, 1, [30, 2])
Y = np.sin(2 * X[:, 0]) + X[:, 0] * X[:, 1]
DY = np.stack([2 * np.cos(2 * X[:, 0]) + X[:, 1], X[:, 0]], 1)


@pytest.fixture(scope="module")
def fitted():
    return st.SobolevRegressor().fit(X, Y, dy=DY)


@pytest.mark.slow  # some sixty fits
@pytest.mark.filterwarnings("ignore")  # its checks provoke warnings of their own
def test_scikit_learn_accepts_it():
    ran = 0
    for estimator, check in estimator_checks_generator(st.SobolevRegressor()):
        check(estimator)
        ran += 1
    assert ran > 30


def test_it_predicts_values_and_gradients_of_new_points(fitted):
    x = np.random.default_rng(1).uniform(-0.8, 0.8, [20, 2])
    values, gradients = fitted.predict(x), fitted.predict_gradient(x)
    assert values.shape == (20,)
    assert gradients.shape == (20, 2)
    np.testing.assert_allclose(values, np.sin(2 * x[:, 0]) + x[:, 0] * x[:, 1], atol=1e-3)
    np.testing.assert_allclose(gradients[:, 1], x[:, 0], atol=1e-2)
    assert fitted.score(X, Y) > 0.999


def test_deviations_have_the_shape_of_what_they_belong_to(fitted):
    values, deviations = fitted.predict(X[:4], return_std=True)
    assert deviations.shape == values.shape
    gradients, slopes = fitted.predict_gradient(X[:4], return_std=True)
    assert slopes.shape == gradients.shape
    assert np.all(deviations >= 0)
    far, _ = fitted.predict([[9.0, 9.0]], return_std=True)[1], None
    assert far > deviations.max()


def test_slopes_are_worth_having():
    x, test = X[:8], X[8:]
    values_only = st.SobolevRegressor().fit(x, Y[:8]).predict(test)
    both = st.SobolevRegressor().fit(x, Y[:8], dy=DY[:8]).predict(test)
    assert np.std(both - Y[8:]) < np.std(values_only - Y[8:]) / 2


def test_several_outputs_and_missing_slopes():
    y, dy = np.stack([Y, -2 * Y], 1), np.stack([DY, -2 * DY], 1)
    dy[::3, 1] = np.nan
    regressor = st.SobolevRegressor().fit(X, y, dy=dy)
    assert regressor.predict(X).shape == (30, 2)
    np.testing.assert_allclose(regressor.predict_gradient(X)[:, 1], -2 * DY, atol=0.05)


def test_a_row_that_comes_twice_has_weight_two_whatever_the_order():
    twice = np.concatenate([np.arange(10), [3, 3, 7]])
    order = np.random.default_rng(2).permutation(len(twice))
    repeated = st.SobolevRegressor().fit(X[twice][order], Y[twice][order], dy=DY[twice][order])
    weights = np.bincount(twice)
    weighted = st.SobolevRegressor().fit(X[:10], Y[:10], dy=DY[:10], sample_weight=weights)
    np.testing.assert_array_equal(repeated.predict(X), weighted.predict(X))


def test_rows_of_weight_0_are_left_out():
    weights = np.r_[np.ones(10), np.zeros(20)]
    wrong = np.where(weights > 0, Y, 1e3)
    left_out = st.SobolevRegressor().fit(X, wrong, dy=DY, sample_weight=weights)
    without = st.SobolevRegressor().fit(X[:10], Y[:10], dy=DY[:10])
    np.testing.assert_allclose(left_out.predict(X), without.predict(X), atol=1e-9)


def test_it_pickles_and_clones(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_allclose(again.predict(X), fitted.predict(X), rtol=1e-12)
    np.testing.assert_allclose(
        again.predict(X, return_std=True)[1], fitted.predict(X, return_std=True)[1], atol=1e-9
    )
    copied = clone(st.SobolevRegressor(net="kernel", random_state=3))
    assert copied.get_params() == {"net": "kernel", "random_state": 3}


def test_cross_validation_passes_gradients_on():
    folds = KFold(3)
    scores = cross_val_score(st.SobolevRegressor(), X, Y, cv=folds, params={"dy": DY})
    assert scores.min() > 0.99
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = st.SobolevRegressor().set_fit_request(dy=True, sample_weight=False)
        search = GridSearchCV(estimator, {"net": ["kernel"]}, cv=folds).fit(X, Y, dy=DY)
    assert search.best_score_ == pytest.approx(scores.mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("dy", "message"),
    [
        (DY[:, :1], r"dy has shape \[30, 1\], expected \[30, 1, 2\] or \[30, 2\]"),
        (DY[:5], "inconsistent numbers of samples"),
        (np.full_like(DY, np.inf), "contains infinity"),
    ],
)
def test_gradients_of_a_wrong_kind_are_scikit_learns_errors(dy, message):
    with pytest.raises(ValueError, match=message):
        st.SobolevRegressor().fit(X, Y, dy=dy)


def test_a_single_point_is_refused():
    with pytest.raises(ValueError, match="two different rows of weight above 0, got 1"):
        st.SobolevRegressor().fit(X[[0, 0]], Y[[0, 0]])


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.base", None)
    monkeypatch.delitem(__import__("sys").modules, "sobolev_tf.estimator", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"needs scikit-learn: pip install"):
        _ = st.SobolevRegressor


@pytest.mark.parametrize("name", ["X", "y", "dy"])
def test_masked_arrays_are_refused(name):
    data = {"X": np.linspace(-1, 1, 6)[:, None], "y": np.arange(6.0), "dy": np.ones([6, 1])}
    data[name] = np.ma.masked_array(data[name], mask=data[name] == data[name].max())
    with pytest.raises(ValueError, match=f"SobolevRegressor.fit: {name} is masked, first in row"):
        st.SobolevRegressor().fit(**data)
