"""What a decoupled model reports of a cut: how well its module knows the network above it."""

import keras
import tensorflow as tf

from sobolev_tf.synthetic.layers import CROSS_ENTROPIES, compare, per_example_gradient


class CutDiagnostics:
    """Running means over an epoch, as metrics `cut1_loss` and so on.

    loss: |m - L|; gradient_loss: |SG - dL/dh|; cosine, norm_ratio: of SG to the true gradient;
    accuracy: how often the critic's own prediction of the class is right.

    Args:
      number: the cut's, from 1 at the bottom.
      direct: whether the module gives gradients alone, and no loss to report.
      compared: whether SG is held against the true gradient, so that there is a cosine.
    """

    def __init__(self, number, direct=False, compared=True):
        names = ["gradient_loss", *(["cosine", "norm_ratio"] if compared else [])]
        self.trackers = {
            name: keras.metrics.Mean(name=f"cut{number}_{name}")
            for name in (names if direct else ["loss", *names, "accuracy"])
        }

    def track(self, name, value, finite_only=False):
        """Adds a batch's value; `finite_only` leaves out a step that loss scaling will skip."""
        counts = tf.math.is_finite(value) if finite_only else True
        weight = tf.cast(counts, tf.float32)
        self.trackers[name].update_state(tf.where(counts, value, 0), sample_weight=weight)

    def track_accuracy(self, loss, y, outputs):
        """The share of classes that the critic's outputs [B,...,K] name, under a cross-entropy."""
        if outputs is None or not isinstance(loss, CROSS_ENTROPIES):
            return
        sparse = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
        named = tf.argmax(outputs, -1)
        classes = tf.reshape(y, tf.shape(named)) if sparse else tf.argmax(y, -1)
        right = tf.equal(named, tf.cast(classes, tf.int64))
        self.track("accuracy", tf.reduce_mean(tf.cast(right, tf.float32)))

    def compare(self, synthetic, true, finite_only=False):
        """Tracks how far a synthetic gradient [B, *H] is the true one."""
        cosine, ratio = compare(synthetic, true)
        self.track("cosine", cosine, finite_only)
        self.track("norm_ratio", ratio, finite_only)

    def metrics(self, loss):
        """What can be reported under the network's loss."""
        known = isinstance(loss, CROSS_ENTROPIES)
        return [metric for name, metric in self.trackers.items() if known or name != "accuracy"]


def compare_when(due, diagnostics, cuts, true, share, finite_only):
    """Tracks every cut's cosine and norm ratio where `due`; `true` costs a backward pass.

    true: () -> the gradients that full backpropagation gives at the cuts, times `share`.
    """

    def diagnose():
        for cut, gradient, each in zip(cuts, true(), diagnostics, strict=True):
            pair = cut.prediction.derivatives[0], per_example_gradient(gradient, share)
            each.compare(*pair, finite_only)
        return True

    # An epoch shorter than that reports its first step rather than nothing.
    first = diagnostics[0].trackers["cosine"].count.value == 0
    tf.cond(due | first, diagnose, lambda: False)
