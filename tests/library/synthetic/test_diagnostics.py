"""What counts in the cosines and norm ratios of synthetic and true gradients."""

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf.synthetic.diagnostics import CutDiagnostics
from tests.support.cut_nets import CROSS_ENTROPY, compiled, points, tanh_net


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


def test_an_empty_share_of_a_replica_does_not_count():
    diagnostics, nothing = CutDiagnostics(1), tf.zeros([0, 3])
    diagnostics.compare(nothing, nothing)
    diagnostics.track_accuracy(CROSS_ENTROPY, tf.zeros([0], tf.int32), nothing)
    assert all(float(tracker.count) == 0 for tracker in diagnostics.trackers.values())


def test_a_smaller_last_batch_counts_by_its_examples():
    def train(*data):
        keras.utils.set_random_seed(1)
        model = compiled(tanh_net(), critic_rate=0.0, rate=0.0, diagnose_every=1)
        return model.fit(*data, batch_size=8, shuffle=False, verbose=0).history

    x, y = points(10)
    whole, first, last = train(x, y), train(x[:8], y[:8]), train(x[8:], y[8:])
    for name, [value] in whole.items():
        np.testing.assert_allclose(value, 0.8 * first[name][0] + 0.2 * last[name][0], rtol=1e-5)
