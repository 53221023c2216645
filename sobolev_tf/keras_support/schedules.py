"""Learning rate schedules that Keras lacks."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import require

# Huge & Savine's: up to the peak in the first fifth, down to a tenth of it at three fifths.
HUGE_SAVINE = ((0.0, 1e-7), (0.2, 1.0), (0.6, 0.1), (0.9, 1e-5), (1.0, 1e-7))


@keras.saving.register_keras_serializable(package="sobolev_tf")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises once and falls once, linearly between given points.

    The high rate in the middle explores; the long fall to almost zero averages noisy labels out.
    Source: Smith & Topin, 2018; the default points are those of Huge & Savine, "Differential
    Machine Learning", 2020.

    Args:
      peak: the highest learning rate.
      num_steps: number of steps of the cycle; later steps have the last rate.
      points: pairs (share of the steps, share of the peak), in which the share of the steps rises
        from 0 to 1.

    Raises:
      ValueError: the points are not such pairs.

    Example:
      >>> rate = OneCycle(0.1, 1000)
      >>> [round(float(rate(step)), 4) for step in (0, 100, 200, 400, 600, 1000)]
      [0.0, 0.05, 0.1, 0.055, 0.01, 0.0]
      >>> optimizer = keras.optimizers.Adam(OneCycle(3e-3, 2000, [(0, 0.04), (0.3, 1), (1, 0)]))
    """

    def __init__(
        self,
        peak: float,
        num_steps: int,
        points: Sequence[tuple[float, float]] = HUGE_SAVINE,
    ) -> None:
        super().__init__()
        self.peak = require.number("OneCycle", "peak", peak, above=0)
        self.num_steps = require.whole_number("OneCycle", "num_steps", num_steps, at_least=1)
        self.points = _pairs(points)
        times, shares = zip(*self.points, strict=True) if self.points else ((), ())
        rises = all(before < after for before, after in itertools.pairwise(times))
        if len(times) < 2 or times[0] != 0 or times[-1] != 1 or not rises:
            raise ValueError(
                f"OneCycle: points are at the shares {times} of the steps, expected numbers that "
                "rise from 0 to 1."
            )
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(
                f"OneCycle: points have the shares {shares} of the peak, expected 0 to 1."
            )

    def __call__(self, step: Any) -> tf.Tensor:
        """Compute the learning rate of a step, a scalar; steps count from 0."""
        time = tf.cast(step, tf.float32) / self.num_steps
        rate = tf.constant(self.points[-1][1], tf.float32)
        for (begin, low), (end, high) in reversed([*itertools.pairwise(self.points)]):
            inside = low + (high - low) * (time - begin) / (end - begin)
            rate = tf.where(time < end, inside, rate)
        return self.peak * rate

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for a saved optimizer."""
        return {"peak": self.peak, "num_steps": self.num_steps, "points": self.points}


def _pairs(points: Any) -> list[tuple[float, float]]:
    try:
        return [(float(when), float(share)) for when, share in points]
    except (TypeError, ValueError):
        got = require.shown(points)
        raise ValueError(
            f"OneCycle: points are pairs (share of the steps, share of the peak), got {got}."
        ) from None
