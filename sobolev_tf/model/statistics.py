"""What `adapt` learns from data: means and deviations, and the sizes of label components."""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from sobolev_tf.model.scaling import Scaling


class Moments:
    """Mean and deviation of columns over batches of any number, NaN left out, in float64.

    Chan, Golub and LeVeque's update (1983), which does not cancel. A column without spread has
    deviation 1.

    Example:

    >>> moments = Moments()
    >>> for batch in ([[1.0], [2.0]], [[3.0], [np.nan]]):
    ...     moments.add(np.array(batch))
    >>> moments.mean.tolist(), moments.deviation.round(4).tolist()
    ([2.0], [0.8165])
    """

    def __init__(self) -> None:
        self.count = self.mean = self.square = np.zeros(())

    def add(self, batch: np.ndarray) -> None:
        """Take in a batch [B,...]."""
        batch = np.asarray(batch, "float64")
        present = ~np.isnan(batch)
        count = present.sum(0)
        mean = np.where(present, batch, 0).sum(0) / np.maximum(count, 1)
        square = np.where(present, (batch - mean) ** 2, 0).sum(0)
        total = self.count + count
        share = count / np.maximum(total, 1)
        difference = mean - self.mean
        self.square = self.square + square + difference**2 * self.count * share
        self.mean = self.mean + difference * share
        self.count = total

    @property
    def deviation(self) -> np.ndarray:
        """The standard deviation of each column; 1 for a constant one."""
        deviation = np.sqrt(self.square / np.maximum(self.count, 1))
        # Rounding leaves a trace of spread in a constant column.
        return np.where(deviation > 1e-7 * np.abs(self.mean), deviation, 1.0)

    @property
    def rms(self) -> np.ndarray:
        """The root of each column's mean square; 1 where that is 0."""
        square = self.square / np.maximum(self.count, 1) + np.square(self.mean)
        return np.where(square > 0, np.sqrt(square), 1.0)


class Statistics:
    """Moments of batches of points [B,*in] and of labels by name of term.

    Args:
      outputs: out, the shape of one value.
      classes: integers among the values are class numbers, whatever their shape; those of
        another shape than `outputs` always are.
    """

    def __init__(self, outputs: tuple, classes: bool = False) -> None:
        self.outputs = outputs
        self.rows = 0
        self.points = Moments()
        self.terms: dict[str, Moments] = {}
        self._any_classes = classes
        self._values_are_classes = False

    def add(self, points: np.ndarray, labels: dict[str, np.ndarray]) -> None:
        """Take in a batch; NaN entries of labels count nothing.

        Raises:
          ValueError: for an infinite entry.
        """
        for name, entries in {"x": points, **labels}.items():
            if entries.dtype.kind == "f" and np.isinf(entries).any():
                row = int(np.argmax(np.isinf(entries).reshape(len(entries), -1).any(1)))
                raise ValueError(
                    f"SobolevModel.adapt: {name} is infinite, first in row {self.rows + row}."
                )
        self.rows += len(points)
        self.points.add(points)
        dims = points.shape[1:]
        for name, label in labels.items():
            if name == "value" and self._holds_classes(label):
                self._values_are_classes = True
                continue
            order = 0 if name == "value" else int(name[1:])
            label = label.reshape(-1, *self.outputs, *dims * order)
            self.terms.setdefault(name, Moments()).add(label)

    def scales(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return μx and σx [*in], μy and σy [*out], as `Scaling.set` takes them.

        x [B,D] gets a mean and a deviation for each component; x of more axes one for all, which
        keeps its geometry. Without values, σy is the typical length of the z-scored gradient.
        """
        mean, deviation = self.points.mean, self.points.deviation
        if deviation.ndim > 1:  # one for all entries: distances stay distances, images images
            spread = np.sqrt(
                np.mean(self.points.square / np.maximum(self.points.count, 1) + mean**2)
                - np.mean(mean) ** 2
            )
            mean = np.full_like(mean, np.mean(mean))
            deviation = np.full_like(deviation, spread if spread > 1e-7 * np.abs(mean).max() else 1)
        if "value" in self.terms:
            values = self.terms["value"]
            return mean, deviation, values.mean, values.deviation
        if "d1" in self.terms and not self._values_are_classes:
            slopes = (self.terms["d1"].rms * deviation) ** 2
            inner = tuple(range(len(self.outputs), slopes.ndim))
            return mean, deviation, np.zeros(self.outputs), np.sqrt(slopes.sum(inner))
        return mean, deviation, np.zeros(self.outputs), np.ones(self.outputs)

    def label_sizes(self) -> dict[str, np.ndarray]:
        """Return the root mean square of each derivative's components, in z-scores, by name."""
        scaling = Scaling()
        mean, *_ = scales = self.scales()
        scaling.build((mean.shape, self.outputs))
        scaling.set(*scales)
        return {
            name: scaling.scale_derivative(tf.constant(moments.rms), int(name[1:])).numpy()
            for name, moments in self.terms.items()
            if name != "value"
        }

    def _holds_classes(self, label):
        if label.dtype.kind == "f" or self.outputs in ((), (1,)):
            return False
        return self._any_classes or label.shape[1:] != self.outputs


def fit_statistics(
    batches: Iterable[tuple[np.ndarray, dict[str, np.ndarray]]],
    outputs: Callable[[], tuple],
    classes: bool = False,
) -> Statistics:
    """Read batches once, and return their statistics.

    Args:
      batches: points [B,*in] and labels by name of term.
      outputs: returns out, the shape of one value; called once the first batch is there.
      classes: as for `Statistics`.

    Raises:
      ValueError: where there are no rows, or an infinite entry.
    """
    statistics = None
    for points, labels in batches:
        statistics = statistics or Statistics(outputs(), classes)
        statistics.add(points, labels)
    if statistics is None or not statistics.rows:
        raise ValueError("SobolevModel.adapt: there is no data, x is empty.")
    return statistics
