"""Points with their labels."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.keras_support import batching
from sobolev_tf.keras_support.arrays import is_array, plain_array


@dataclasses.dataclass(frozen=True)
class Table:
    """Points with their labels, row by row.

    Args:
      x: [B,*in].
      labels: y [B,*out], d1 [B,*out,*in], ..., in that order.

    Raises:
      ValueError: the numbers of rows differ.

    Example:

    >>> table = Table(np.zeros([4, 2]), np.zeros([4, 1]), np.zeros([4, 1, 2]))
    >>> [len(a) for a in (table.x, *table.labels)]
    [4, 4, 4]
    """

    x: np.ndarray
    labels: tuple

    def __init__(self, x: np.ndarray, *labels: Any):
        names = ["x", "y", *(f"d{j}" for j in range(1, len(labels)))]
        named = {
            name: plain_array("Table", name, a, missing=name != "x") if is_array(a) else a
            for name, a in zip(names, (x, *labels), strict=False)
        }
        require.same_rows("Table", named, at_least=0)
        first, *rest = named.values()
        object.__setattr__(self, "x", first)
        object.__setattr__(self, "labels", tuple(rest))

    def dataset(self, batch_size: int, seed: int = 0) -> tf.data.Dataset:
        """Make an endless data set of shuffled, full batches, for `fit` with `steps_per_epoch`.

        Small tables train many times faster this way than as arrays, where every pass over the
        table is an epoch.

        Args:
          batch_size: number of rows in a batch.
          seed: seed of the shuffling.

        Returns:
          A data set of (x, labels).

        Example:

        >>> x, (y,) = next(iter(Table(np.zeros([4, 2]), np.zeros([4, 1])).dataset(3)))
        >>> x.shape, y.shape
        (TensorShape([3, 2]), TensorShape([3, 1]))
        """
        batch_size = require.whole_number("Table.dataset", "batch_size", batch_size, at_least=1)
        require.same_rows("Table.dataset", {"x": self.x})
        data = self.x, self.labels
        return batching.batches(data, batch_size, seed=seed, caller="Table.dataset")
