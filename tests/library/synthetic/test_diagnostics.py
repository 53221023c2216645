"""What counts in the cosines and norm ratios of synthetic and true gradients."""

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf.synthetic.diagnostics import CutDiagnostics
from tests.support.cut_nets import compiled, points, tanh_net


def results(diagnostics):
    return [float(diagnostics.trackers[name].result()) for name in ("cosine", "norm_ratio")]


def test_a_step_that_loss_scaling_skips_does_not_count():
    diagnostics, ones = CutDiagnostics(1), tf.ones([2, 3])
    diagnostics.compare(ones, tf.fill([2, 3], np.inf), finite_only=True)
    diagnostics.compare(ones, 2 * ones, finite_only=True)
    np.testing.assert_allclose(results(diagnostics), [1.0, 0.5], rtol=1e-6)


def test_examples_without_weight_do_not_count():
    def train(*data):
        keras.utils.set_random_seed(1)
        model = compiled(tanh_net(), critic_rate=0.0, rate=0.0)
        model.train_on_batch(*data)
        return model.diagnostics

    x, y = points(8)
    weight = np.array([1.0] * 4 + [0.0] * 4)
    for masked, short in zip(train(x, y, weight), train(x[:4], y[:4]), strict=True):
        np.testing.assert_allclose(results(masked), results(short), rtol=1e-5)
    for none in train(x, y, 0 * weight):
        assert float(none.trackers["cosine"].count) == 0
