"""Metrics of a cut: how well the critic predicts the loss of the network and its gradient."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from sobolev_tf.jets import at_least_float32
from sobolev_tf.keras_support.class_losses import (
    is_cross_entropy,
    labels_that_count,
    takes_classes,
)
from sobolev_tf.synthetic.cut import Cut, scale_examples


class CutDiagnostics:
    """Means over an epoch's examples, as metrics `cut1_loss` and so on.

    loss is |m - L|, gradient_loss |SG - dL/dh|; cosine and norm_ratio compare SG with the true
    gradient; accuracy is that of the critic's prediction of the class.

    Args:
      number: number of the cut, from 1 at the bottom.
      direct: whether the critic predicts gradients only, so that there is no loss to report.
      compared: whether SG is compared with the true gradient, so that there is a cosine.
    """

    def __init__(self, number: int, direct: bool = False, compared: bool = True) -> None:
        names = ["gradient_loss", *(["cosine", "norm_ratio"] if compared else [])]
        self.trackers = {
            name: keras.metrics.Mean(name=f"cut{number}_{name}")
            for name in (names if direct else ["loss", *names, "accuracy"])
        }

    def track(
        self, name: str, value: tf.Tensor, number: tf.Tensor, finite_only: bool = False
    ) -> None:
        """Add a batch's value; `finite_only` leaves out a step that loss scaling will skip.

        Args:
          name: the tracker's name, such as "loss".
          value: the mean over the batch, a scalar.
          number: of how many examples or labels it is the mean: the weight of the value.
          finite_only: whether a value that is not finite is left out.
        """
        counts = number > 0
        if finite_only:
            counts &= tf.math.is_finite(value)
        weight = tf.where(counts, tf.cast(number, tf.float32), 0)
        self.trackers[name].update_state(tf.where(counts, value, 0), sample_weight=weight)

    def track_accuracy(
        self, loss: keras.losses.Loss | Callable, y: tf.Tensor, outputs: tf.Tensor | None
    ) -> None:
        """Add the share of the labels that count whose class the critic's outputs [B,...,K] name.

        Does nothing unless the network's loss is a cross-entropy and there are outputs.
        """
        if outputs is None or not is_cross_entropy(loss):
            return
        axis = getattr(loss, "axis", -1)  # that of the classes
        named = tf.argmax(outputs, axis)
        classes = tf.reshape(y, tf.shape(named)) if takes_classes(loss) else tf.argmax(y, axis)
        right = tf.equal(named, tf.cast(classes, tf.int64))
        counts = labels_that_count(loss, classes)
        if counts is None:
            counts = tf.ones_like(right)
        number = tf.math.count_nonzero(counts, dtype=tf.float32)
        share = tf.math.count_nonzero(right & counts, dtype=tf.float32) / number
        self.track("accuracy", share, number)

    def compare(self, synthetic: tf.Tensor, true: tf.Tensor, finite_only: bool = False) -> None:
        """Add cosine and norm ratio of a synthetic gradient [B, *H] to the true one."""
        cosine, ratio = compare(synthetic, true)
        ratio = tf.where(tf.math.is_finite(cosine), ratio, cosine)  # a number over infinity is 0
        self.track("cosine", cosine, tf.shape(true)[0], finite_only)
        self.track("norm_ratio", ratio, tf.shape(true)[0], finite_only)

    def metrics(self, loss: keras.losses.Loss | Callable | None) -> list[keras.metrics.Metric]:
        """List what can be reported under the network's loss."""
        known = is_cross_entropy(loss)
        return [metric for name, metric in self.trackers.items() if known or name != "accuracy"]


def compare(synthetic: tf.Tensor, true: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute cosine and norm ratio |SG| / |dL/dh| of two gradients [B, *H], over the batch.

    Zero if a norm is zero.

    Example:

    >>> [float(t) for t in compare(tf.constant([[0.0, 3.0]]), tf.constant([[0.0, 6.0]]))]
    [1.0, 0.5]
    """
    synthetic, true = at_least_float32(synthetic), at_least_float32(true)
    norms = tf.norm(synthetic), tf.norm(true)
    product = tf.reduce_sum(synthetic * true)
    return (
        tf.math.divide_no_nan(product, norms[0] * norms[1]),
        tf.math.divide_no_nan(*norms),
    )


def compare_when(
    due: tf.Tensor,
    diagnostics: Sequence[CutDiagnostics],
    cuts: list[Cut],
    true: Callable[[], list[tf.Tensor]],
    example_weights: tf.Tensor,
    finite_only: bool,
) -> None:
    """Add every cut's cosine and norm ratio where `due`, at the cost of a backward pass.

    Gradients are compared as the stage below gets them, times `example_weights`. A batch in which
    no example has a weight is left out.

    Args:
      due: a boolean scalar.
      diagnostics: diagnostics of every cut.
      cuts: the forward pass's.
      true: () -> the gradients [B, *H] that full backpropagation gives at the cuts, times
        `example_weights`.
      example_weights: scalar or [B].
      finite_only: whether to leave out a step that loss scaling will skip.
    """

    def diagnose():
        for cut, gradient, diagnostic in zip(cuts, true(), diagnostics, strict=True):
            synthetic = scale_examples(cut.synthetic_gradient, example_weights)
            diagnostic.compare(synthetic, gradient, finite_only)
        return True

    # The first step of an epoch always counts, so that a short epoch reports something.
    first = diagnostics[0].trackers["cosine"].count.value == 0
    counts = tf.reduce_any(example_weights != 0)
    tf.cond((due | first) & counts, diagnose, lambda: False)
