"""A function of NumPy arrays, whose every result is checked."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike


class BlackBox:
    """A function that is evaluated, checked and converted to double precision.

    Args:
      fn: x [N,*in] -> [N,*out], row by row.
      dtype: dtype of the x that fn takes.
      outputs: *out; by default that of the first result.
      is_complex: whether x is complex, in the precision of `dtype`.

    Attributes:
      outputs: *out; None before the first result.
      returned: the dtype of results; None before the first one.
      failure: what the last evaluation raised, for callers who see a graph's report of it only:
        fn's own error, or the error of its answer; None if it went well.
    """

    def __init__(
        self,
        fn: Callable,
        dtype: str,
        outputs: Sequence[int] | None = None,
        is_complex: bool = False,
    ):
        self.fn, self.is_complex = fn, is_complex
        self.dtype = np.result_type(dtype, "c8") if is_complex else np.dtype(dtype)
        self.outputs = None if outputs is None else tuple(outputs)
        self.returned: np.dtype | None = None
        self.failure: Exception | None = None

    def evaluate(self, x: np.ndarray, rows: int | None) -> np.ndarray:
        """Evaluate fn.

        Args:
          x: [N,*in], N / rows points for each row of the user's x.
          rows: rows of the user's x that errors name, or None for some of them.

        Returns:
          [N,*out] in double precision.

        Raises:
          ValueError: fn raises; or returns other rows, shapes or dtypes than expected, or a value
            that is not finite.
        """
        self.failure = None
        try:
            return self._evaluate(x.astype(self.dtype), rows)
        except ValueError as error:
            own, named = error.__cause__, ValueError(f"FiniteDifferences: {error}")
            self.failure = own if isinstance(own, Exception) else named
            raise named from own

    def _evaluate(self, x, rows):
        double = np.result_type(x, "f8")
        if not len(x) and self.outputs is not None:
            return np.empty((0, *self.outputs), double)
        try:
            answer = self.fn(x)
            y = np.array(answer)  # a copy: fn may fill the same buffer at every call
        except Exception as error:
            raise ValueError(
                f"fn raised {type(error).__name__}: {error} (x has shape {x.shape} and starts with "
                f"{shown(x[:1])})."
            ) from error
        if isinstance(answer, np.ma.MaskedArray) and np.ma.getmaskarray(answer).any():
            raise ValueError("fn returned masked entries, which have no value: fill them.")
        if y.shape[:1] != x.shape[:1]:
            raise ValueError(
                f"fn returned shape {y.shape} for x of shape {x.shape}, expected "
                f"({len(x)}, *out): one result for each row of x."
            )
        if y.dtype.kind != x.dtype.kind:
            advice = "."
            if self.is_complex:
                advice = ': compute in complex numbers throughout, or scheme="central".'
            raise ValueError(
                f"fn returned {y.dtype} for x of {x.dtype}, expected the same kind" + advice
            )
        outputs = y.shape[1:] if self.outputs is None else self.outputs
        returned = y.dtype if self.returned is None else self.returned
        if (y.shape[1:], y.dtype) != (outputs, returned):
            raise ValueError(
                f"fn returned rows of {y.dtype} {y.shape[1:]}, expected {returned} {outputs}, "
                "as in outputs= or in its first result."
            )
        finite = np.isfinite(y.reshape(len(y), int(np.prod(y.shape[1:])))).all(1)
        if not finite.all():
            i = np.argmin(finite)
            where = "" if rows is None else f" in row {i // (len(x) // rows)} of x"
            raise ValueError(f"fn returned {shown(y[i])}{where}, evaluated at {shown(x[i])}.")
        self.outputs, self.returned = outputs, returned
        return y.astype(double)


def shown(a: ArrayLike) -> str:
    """Print an array for an error, shortened."""
    return np.array2string(np.asarray(a), precision=6, threshold=8, edgeitems=3)
