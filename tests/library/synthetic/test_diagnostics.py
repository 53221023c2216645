"""What counts in the cosines and norm ratios of synthetic and true gradients."""

import keras
import numpy as np
import pytest
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


IGNORING = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)


def test_a_critics_accuracy_is_that_of_the_labels_that_count():
    """Batches count by their labels: 1 of 2 and 3 of 3 that count, and one without any."""
    diagnostics = CutDiagnostics(1)
    named = tf.eye(4)  # the critic names classes 0, 1, 2, 3
    for labels in ([0, 2, -1, -1], [0, 1, 2, -1], [-1, -1, -1, -1]):
        diagnostics.track_accuracy(IGNORING, tf.constant(labels), named)
    tracker = diagnostics.trackers["accuracy"]
    assert float(tracker.result()) == pytest.approx(4 / 5)
    assert float(tracker.count) == 5


def test_a_critics_accuracy_follows_the_axis_of_the_classes():
    diagnostics, loss = CutDiagnostics(1), keras.losses.CategoricalCrossentropy(axis=1)
    labels, outputs = (tf.one_hot([a], 3, axis=1) for a in ([0, 1, 1, 2], [0, 1, 2, 2]))
    diagnostics.track_accuracy(loss, labels, outputs)
    assert float(diagnostics.trackers["accuracy"].result()) == 3 / 4


def test_accuracy_on_two_replicas_is_that_of_all_labels_that_count(two_replicas):
    """One replica has 1 label that counts, the other 3, of which the critics name none and all."""
    with two_replicas.scope():
        diagnostics = CutDiagnostics(1)
    labels = tf.constant([[2, -1, -1, -1], [0, 1, 2, -1]])

    def step():
        context = tf.distribute.get_replica_context()
        mine = labels[context.replica_id_in_sync_group]
        diagnostics.track_accuracy(IGNORING, mine, tf.eye(4))

    two_replicas.run(tf.function(step))
    assert float(diagnostics.trackers["accuracy"].result()) == 3 / 4


def test_every_n_th_step_is_compared_where_gradients_are_accumulated(monkeypatch):
    model = compiled(tanh_net(), diagnose_every=4)
    accumulates = keras.optimizers.SGD(0.1, gradient_accumulation_steps=4)
    model.compile(accumulates, keras.optimizers.SGD(0.1), CROSS_ENTROPY, run_eagerly=True)
    compared, compare = [], CutDiagnostics.compare

    def noted(*arguments):
        compared.append(int(accumulates._iterations))
        compare(*arguments)

    monkeypatch.setattr(CutDiagnostics, "compare", noted)
    model.fit(*points(40), batch_size=4, verbose=0)
    assert compared[::2] == [0, 4, 8]  # two cuts
