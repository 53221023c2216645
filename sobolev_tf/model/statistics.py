"""What `adapt` learns from data: means and deviations, and the sizes of label components."""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from sobolev_tf.keras_support.shapes import batch_shape
from sobolev_tf.model import labels
from sobolev_tf.model.class_numbers import are_class_numbers
from sobolev_tf.model.label_shapes import fit_shape
from sobolev_tf.model.scaling import Scaling

SMALLEST_SIZE = 0.25  # of a component, relative to the largest of its term


class Moments:
    """Mean and deviation of columns over batches of any number, NaN left out, in float64.

    Chan, Golub and LeVeque's update (1983), which does not cancel. A column without spread has
    deviation 1.

    Args:
      float64: whether float64 numbers and integers are used as such, and not as float32.

    Example:

    >>> moments = Moments()
    >>> for batch in ([[1.0], [2.0]], [[3.0], [np.nan]]):
    ...     moments.add(np.array(batch))
    >>> moments.mean.tolist(), moments.deviation.round(4).tolist()
    ([2.0], [0.8165])
    """

    def __init__(self, float64: bool = False) -> None:
        self.count = self.mean = self.square = np.zeros(())
        self._float64 = float64

    def add(self, batch: np.ndarray) -> None:
        """Take in a batch [B,...]."""
        batch = np.asarray(batch)
        self._float64 &= batch.dtype == np.float64 or batch.dtype.kind in "iu"
        batch = batch.astype("float64", copy=False)
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
        return np.where(self.has_spread, np.sqrt(self._variance), 1.0)

    @property
    def has_spread(self) -> np.ndarray:
        """Whether each column is more than a constant, in which rounding leaves a trace."""
        return np.sqrt(self._variance) > self.trace * np.abs(self.mean)

    @property
    def trace(self) -> float:
        """The spread that rounding leaves in a constant column, as a share of the constant."""
        return 1e-13 if self._float64 else 1e-7

    @property
    def mean_square(self) -> np.ndarray:
        """The mean square of each column."""
        return self._variance + np.square(self.mean)

    @property
    def _variance(self):
        return self.square / np.maximum(self.count, 1)


class Statistics:
    """Moments of batches of points [B,*in] and of labels by name of term.

    Args:
      outputs: *out, the shape of one value.
      float64: as for `Moments`.
      scale_x: False leaves x in the user's units.
    """

    def __init__(
        self,
        outputs: tuple,
        float64: bool = False,
        scale_x: bool = True,
    ) -> None:
        self.outputs, self.scale_x = outputs, scale_x
        self.rows = 0
        self.points = Moments(float64)
        self.terms: dict[str, Moments] = {}
        self._float64 = float64
        self._values_are_classes = False

    def add(
        self,
        points: np.ndarray,
        by_name: dict[str, np.ndarray],
        weights: dict[str, np.ndarray] | None = None,
        mask: np.ndarray | None = None,
    ) -> None:
        """Take in a batch; NaN entries, rows of weight 0 and masked entries do not count.

        Args:
          points: [B,*in].
          by_name: labels by name of term.
          weights: weights of the rows, [B], by name of term; a name that is absent has weight 1.
          mask: booleans [B] with the first axes of *in, False for entries that are padding.

        Raises:
          ValueError: for an infinite entry, a label of another shape, or such a mask.
        """
        weights, mask = weights or {}, None if mask is None else np.asarray(mask)
        for name, entries in {"x": points, **by_name}.items():
            if entries.dtype.kind == "f" and np.isinf(entries).any():
                row = int(np.argmax(np.isinf(entries).reshape(len(entries), -1).any(1)))
                raise ValueError(f"{name} has infinity, first in row {self.rows + row}.")
        self.rows += len(points)
        dims = points.shape[1:]
        _refuse_mask(mask, points)
        names = by_name or weights  # without labels, weights are those of the points
        counted = [weights[name] != 0 for name in names if name in weights]
        chosen = np.any(counted, 0) if counted and len(counted) == len(names) else slice(None)
        self.points.add(_without_padding(points, mask, 1, 1)[chosen])
        for name, label in by_name.items():
            if name == "value" and are_class_numbers(label, self.outputs):
                self._values_are_classes = True
                continue
            order = labels.order_of(name)
            expected = [None, *self.outputs, *dims * order]
            label = fit_shape(label, expected, self.outputs, name).numpy()
            label = _without_padding(label, mask, 1 + len(self.outputs), order)
            label = label[weights[name] != 0] if name in weights else label
            self.terms.setdefault(name, Moments(self._float64)).add(label)

    def scales(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return μx and σx [*in], μy and σy [*out], as `Scaling.set` takes them.

        x [B,D] gets a mean and a deviation for each component; x of more axes one for all, which
        keeps its geometry; x that is not scaled 0 and 1. Without values, or where they are
        constant, σy is the typical length of the z-scored gradient.
        """
        mean, deviation = self._scales_of_points()
        if "value" in self.terms:
            values = self.terms["value"]
            # Constant values, such as placeholders for energies beside forces, have no scale.
            lengths = np.where(values.has_spread, values.deviation, self._slope_lengths(deviation))
            return mean, deviation, values.mean, np.where(lengths > 0, lengths, 1.0)
        if "d1" in self.terms and not self._values_are_classes:
            lengths = self._slope_lengths(deviation)
            return mean, deviation, np.zeros(self.outputs), np.where(lengths > 0, lengths, 1.0)
        return mean, deviation, np.zeros(self.outputs), np.ones(self.outputs)

    def _scales_of_points(self):
        mean, deviation = self.points.mean, self.points.deviation
        if not self.scale_x:
            return np.zeros_like(mean), np.ones_like(deviation)
        if deviation.ndim < 2:
            return mean, deviation
        # One scale for all entries keeps the geometry of positions and images.
        counts = np.maximum(self.points.count, 1)
        shares = self.points.count / max(self.points.count.max(), 1)  # less where x is masked
        center = np.average(mean, weights=shares)
        variances = self.points.square / counts + (mean - center) ** 2
        spread = np.sqrt(np.average(variances, weights=shares))
        has_spread = spread > self.points.trace * np.abs(mean).max()
        return np.full_like(mean, center), np.full_like(mean, spread if has_spread else 1)

    def label_sizes(self) -> dict[str, np.ndarray]:
        """Return the size of each derivative's components, in z-scores, by name.

        It is their root mean square, but at least a share of the largest one: an input that hardly
        matters has slopes of rounding, and errors over such a size would outweigh all others.
        """
        scaling = Scaling()
        mean, *_ = scales = self.scales()
        scaling.build((mean.shape, self.outputs), "float64")
        scaling.set(*scales)
        roots = {n: np.sqrt(m.mean_square) for n, m in self.terms.items() if n != "value"}
        return {
            name: _at_least_a_share(
                scaling.scale_derivative(tf.constant(root), int(name[1:])).numpy()
            )
            for name, root in roots.items()
        }

    def _slope_lengths(self, deviation):
        """The typical length of each output's z-scored gradient [*out]; 0 without slopes."""
        if "d1" not in self.terms:
            return np.zeros(self.outputs)
        squares = self.terms["d1"].mean_square * deviation**2
        return np.sqrt(squares.sum(tuple(range(len(self.outputs), squares.ndim))))


def _at_least_a_share(sizes):
    """Sizes of a term's components, the smallest ones raised; 1 if all are 0."""
    largest = sizes.max()
    return np.maximum(sizes, SMALLEST_SIZE * largest) if largest > 0 else np.ones_like(sizes)


def fit_statistics(
    batches: Iterable[tuple],
    outputs: Callable[[], tuple],
    float64: bool = False,
    scale_x: bool = True,
) -> Statistics:
    """Read batches once, and return their statistics.

    Args:
      batches: arguments of `Statistics.add`.
      outputs: returns out, the shape of one value; called once the first batch is there.
      float64, scale_x: as for `Statistics`.

    Raises:
      ValueError: there are no rows, an infinite entry, or a label of another shape.
    """
    statistics = None
    for batch in batches:
        statistics = statistics or Statistics(outputs(), float64, scale_x)
        statistics.add(*batch)
    if statistics is None or not statistics.rows:
        raise ValueError("there is no data, x is empty.")
    if not np.any(statistics.points.count):
        raise ValueError("weights of 0, or the mask, leave no data.")
    return statistics


def _refuse_mask(mask: np.ndarray | None, points: np.ndarray) -> None:
    if mask is None:
        return
    if mask.dtype != bool or mask.shape != points.shape[: mask.ndim] or not mask.ndim:
        raise ValueError(
            f"mask is {mask.dtype.name} {batch_shape(mask.shape[1:])}, "
            "expected booleans [B] with the first axes of x, "
            f"{batch_shape(points.shape[1:])}: False for padding."
        )


def _without_padding(
    entries: np.ndarray, mask: np.ndarray | None, start: int, order: int
) -> np.ndarray:
    """Entries [B,...,*in × order], *in from axis `start`, with NaN where one is padding."""
    if mask is None:
        return entries
    dims = (entries.ndim - start) // max(order, 1)
    for i in range(order):
        before = [1] * (start - 1 + dims * i)
        after = [1] * (entries.ndim - len(before) - mask.ndim)
        shown = mask.reshape(len(mask), *before, *mask.shape[1:], *after)
        entries = np.where(shown, entries, np.nan)
    return entries
