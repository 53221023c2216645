"""What full-batch fits refuse of a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf import SobolevModel, fit_lbfgs, fit_least_squares, nets


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


@pytest.mark.parametrize("fit", [fit_lbfgs, fit_least_squares])
def test_a_constraint_is_refused(fit):
    layers = [keras.Input([2]), keras.layers.Dense(1, kernel_constraint="non_neg", name="slope")]
    model = SobolevModel(keras.Sequential(layers))
    model.compile()
    x = np.ones([4, 2], "float32")
    with pytest.raises(ValueError, match=f"{fit.__name__}: .*slope/kernel has a constraint"):
        fit(model, x, (x[:, :1], x[:, None]))


def test_weights_that_a_callback_sets_at_the_end_stay():
    class Restores(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.kept = self.model.get_weights()

        def on_train_end(self, logs=None):
            self.model.set_weights(self.kept)

    model = SobolevModel(nets.mlp(1, hidden=[4], activation="tanh", dtype="float64"))
    model.compile()
    x = np.linspace(-1, 1, 6)[:, None]
    callback = Restores()
    fit_least_squares(
        model, x, (x**2, 2 * x), iterations=2, regularization="evidence", callbacks=[callback]
    )
    for now, kept in zip(model.get_weights(), callback.kept, strict=True):
        np.testing.assert_array_equal(now, kept)
    with pytest.raises(ValueError, match="the weights or the scaling have changed"):
        model.predict_std(x)
