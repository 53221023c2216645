"""What full-batch fits refuse of a model."""

import pytest
import tensorflow as tf

import sobolev_tf as st


@pytest.mark.parametrize("fit", [st.fit_lbfgs, st.fit_least_squares])
def test_a_model_of_a_strategy_is_refused(fit):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = st.SobolevModel(st.nets.mlp(1, hidden=[2], activation="tanh"))
        model.compile()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"runs on one device.*MirroredStrategy: build and") as e:
        fit(model, [[0.0]], [[1.0]])
    assert str(e.value).startswith(fit.__name__)
    assert all((old == new).all() for old, new in zip(before, model.get_weights(), strict=True))
