"""Numbers that each replica has a part of, or a copy of, are read outside of the replicas."""

import numpy as np
import pytest

import sobolev_tf as st

X = np.random.default_rng(0).normal(size=[8, 2]).astype("float32")
Y, DY = np.sum(X**2, 1, keepdims=True), 2 * X
MISSING = np.full_like(DY, np.nan)


def compiled(**settings):
    model = st.SobolevModel(st.nets.mlp(2, hidden=[4], activation="tanh"))
    model.compile("sgd", **settings)
    return model


def test_a_term_without_labels_is_nan_on_two_replicas(two_replicas):
    with two_replicas.scope():
        model = compiled(missing="nan", mean_over="present")
    history = model.fit(X, (Y, MISSING), epochs=2, verbose=0).history
    assert np.isnan(history["d1_loss"]).all()
    assert history["loss"] == pytest.approx(history["value_loss"], rel=1e-6)


def test_a_loss_is_not_excused_by_the_labels_of_the_other_replica(two_replicas):
    with two_replicas.scope():
        model = compiled(missing="nan", mean_over="present")
    first, second = np.array_split(DY, 2)
    for half in (np.r_[MISSING[:4], second], np.r_[first, MISSING[:4]]):
        model.evaluate(X, (Y, half), batch_size=8, verbose=0)
        assert not model.has_no_labels("d1_loss")


def test_a_schedule_of_a_weight_below_zero_is_named_on_two_replicas(two_replicas):
    with two_replicas.scope():
        model = compiled(loss_weights=[1.0, lambda step: -1.0])
    with pytest.raises(ValueError, match=r"loss_weights of d1 gives -1 at step 0, expected"):
        model.fit(X, (Y, DY), verbose=0)


def test_a_surrogate_made_under_a_strategy_has_deviations(two_replicas):
    with two_replicas.scope():
        model = st.fit_surrogate(X, (Y, DY), verbose=0)
    shared = model.predict_std(X + 0.1, verbose=0)
    alone = st.fit_surrogate(X, (Y, DY), verbose=0).predict_std(X + 0.1, verbose=0)
    np.testing.assert_allclose(shared.value, alone.value, rtol=1e-3)
