"""Jets of a black box by finite differences.

A difference has two errors: over a long step the function curves, over a short one it is rounded.
The best step for order j, relative to the size of x, is eps^(1/(j+2)) for central and eps^(1/(j+1))
for forward differences. It depends on eps, and so on the dtype in which the black box computes.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from sobolev_tf import jets, require
from sobolev_tf.differences import doubts
from sobolev_tf.differences.black_box import BlackBox, shown
from sobolev_tf.jets import arguments, contractions

_CALLER = "FiniteDifferences"  # what errors name

_AT_ONCE = 2**22  # numbers in the x of one call to the black box: 32 MB of float64
_IMAGINARY = 2.0**-66  # a step: nothing is subtracted, so it may be short; a power of 2 is exact


class FiniteDifferences:
    """Derivatives of order 1 and 2 of a function of NumPy arrays, by finite differences.

    | scheme | evaluations of fn, orders 1 and 2 | relative errors in float64 | fn |
    | --- | --- | --- | --- |
    | "central" | 2D and about 2D² | 1e-10 and 1e-7 | any |
    | "forward" | D and about 1.5D² | 1e-8 and 1e-5 | is never evaluated below x |
    | "complex" | D and about D² | rounding, and 1e-10 | is analytic |

    The table counts evaluations for full derivatives, in addition to f(x); errors are relative to
    the sizes of f and x. With "complex", order 1 is the complex step Im f(x + ih) / h, and order 2
    a central difference of it: fn must compute in complex numbers, without abs, max, comparisons or
    casts.

    If fn returns float32, steps are chosen for float32; results have the dtype of x. fn is called
    once for f(x) and once for each derivative, or more often if the points exceed 32 MB. With
    "complex" and "forward", it is checked once at a few rows, by three more calls and one. Inside
    `tf.function`, all is one `tf.numpy_function`, which XLA (jit_compile=True) refuses, and through
    which nothing can be differentiated. Models are saved without it.

    Args:
      fn: a function x [B,*in] -> [B,*out] of NumPy arrays, whose rows are independent.
      scheme: "central", "forward" or "complex".
      step: the length of a step at every order (for "complex", of the imaginary step), a number or
        an array over *in. Default: the best step (see the module), times max(|x|, scale).
      scale: the typical size of x, a number or an array over *in. It sets the step near x = 0.
      outputs: *out, such as (1,): the static shape inside `tf.function`. Default: that of the first
        evaluation; it is unknown before.
      dtype: dtype of the x that fn takes, "float64" or "float32"; for "complex", the complex dtype
        of that precision.

    Raises:
      ValueError: fn raises an error, or returns unexpected rows, shapes or dtypes, or a value that
        is not finite. Inside `tf.function` it is a tf.errors.OpError with the same text; `fit`
        raises fn's own error.

    Example:

    >>> target = FiniteDifferences(lambda x: np.sum(x**3, axis=1))
    >>> f = target.jet(tf.constant([[1.0, 2.0]]), order=2)
    >>> [t.numpy().round(4).tolist() for t in f.derivatives]
    [[[3.0, 12.0]], [[[6.0, 0.0], [0.0, 12.0]]]]
    """

    def __init__(
        self,
        fn: Callable,
        scheme: str = "central",
        step: ArrayLike | None = None,
        scale: ArrayLike = 1.0,
        outputs: Sequence[int] | None = None,
        dtype: str = "float64",
    ):
        require.function(_CALLER, "fn", fn)
        require.one_of(_CALLER, "scheme", scheme, ("central", "forward", "complex"))
        require.one_of(_CALLER, "dtype", dtype, ("float32", "float64"))
        _refuse_no_length("scale", scale)
        if step is not None:
            _refuse_no_length("step", step)
        if outputs is not None:
            outputs = require.lengths(_CALLER, "outputs", outputs)
        self.fn, self.scheme, self.step, self.scale, self.dtype = fn, scheme, step, scale, dtype
        self._black_box = BlackBox(fn, dtype, outputs, is_complex=scheme == "complex")
        self._checked = False  # whether the first derivatives were checked

    @property
    def failure(self) -> Exception | None:
        """The error of the last evaluation; None if there was none."""
        return self._black_box.failure

    def __call__(self, x: ArrayLike) -> tf.Tensor:
        """Evaluate fn at x [B,*in]: [B,*out]."""
        return self.jet(x, 0).value

    def jet(self, x: ArrayLike, order: int = 1) -> jets.Jet:
        """Compute the value and full derivatives at x, as `jets.jet`.

        Args:
          x: [B,*in].
          order: J, at most 2.

        Returns:
          A `Jet`: value [B,*out], D^j [B,*out,*in × j].

        Example:

        >>> FiniteDifferences(np.sin).jet(tf.zeros([4, 2])).derivatives[0].shape
        TensorShape([4, 2, 2])
        """
        return self._contracted(order, x, [], lambda j: 0)

    def projected_jet(self, x: ArrayLike, order: int, directions: Callable) -> jets.Jet:
        """Compute the value and D^j <f(x), v>, as `jets.projected_jet`, from full derivatives.

        Args:
          x: [B,*in].
          order: J, at most 2.
          directions: value [B,*out] -> v [B,P,*out].

        Returns:
          A `Jet`: value [B,*out], D^j [B,P,*in × j].

        Example:

        >>> f = FiniteDifferences(np.sin).projected_jet(tf.zeros([4, 2]), 1, lambda y: y[:, None])
        >>> f.derivatives[0].shape
        TensorShape([4, 1, 2])
        """
        point = jets.as_differentiable(x, f"{_CALLER}: x")
        value, derivatives = self.jet(point, order)
        v = directions(value)
        contracted = (
            contractions.contract_outputs(jets.reshape_derivative(d, v.shape[2:], point, j), v)
            for j, d in enumerate(derivatives, 1)
        )
        return jets.Jet(value, tuple(contracted))

    def directional_jet(self, x: ArrayLike, directions: Sequence[ArrayLike]) -> jets.Jet:
        """Compute the value and D^j f[v1, ..., vj], as `jets.directional_jet`.

        Central differences take two evaluations for each projection, and four more at order 2.

        Args:
          x: [B,*in].
          directions: v1, ..., vJ, each [B,P,*in]; at most two.

        Returns:
          A `Jet`: value [B,*out], D^j [B,P,*out].

        Example:

        >>> v = tf.ones([4, 3, 2])
        >>> FiniteDifferences(np.sin).directional_jet(tf.zeros([4, 2]), [v]).derivatives[0].shape
        TensorShape([4, 3, 2])
        """
        return self._contracted(len(directions), x, directions, lambda j: j)

    def partial_jet(self, x: ArrayLike, v: ArrayLike, order: int) -> jets.Jet:
        """Compute the value and D^j f[v, ...], as `jets.partial_jet`.

        Args:
          x: [B,*in].
          v: [B,P,*in].
          order: J, at most 2.

        Returns:
          A `Jet`: value [B,*out], D^j [B,P,*out,*in × (j-1)].

        Example:

        >>> f = FiniteDifferences(np.sin).partial_jet(tf.zeros([4, 2]), tf.ones([4, 3, 2]), order=2)
        >>> f.derivatives[1].shape
        TensorShape([4, 3, 2, 2])
        """
        return self._contracted(order, x, [v], lambda j: 1)

    def _contracted(self, order, x, directions, along) -> jets.Jet:
        """Value and D^j with its first along(j) arguments filled by directions [B,P,*in].

        At once when eager, in a graph as one operation.
        """
        order = require.whole_number(_CALLER, "order", order, at_least=0)
        if order > 2:
            raise ValueError(
                f"{_CALLER}: order is 0, 1 or 2, got {order}: higher ones would be rounding."
            )
        x = arguments.refuse_scalar(_CALLER, jets.as_differentiable(x, f"{_CALLER}: x"))
        directions = [tf.convert_to_tensor(v) for v in directions]
        for v in directions:
            if not _joined(x.shape[:1], [None], x.shape[1:]).is_compatible_with(v.shape):
                raise ValueError(
                    f"{_CALLER}: directions are {v.shape} for x {x.shape}, expected [B,P,*in]."
                )

        def compute(x, *directions):
            dtype, x = x.dtype, x.astype("f8")
            value = self._black_box.evaluate(x, len(x))
            terms = [value.real]
            if order and self.scheme == "complex" and not self._checked and len(x):
                evaluate = functools.partial(self._black_box.evaluate, rows=None)
                doubts.refuse_not_analytic(evaluate, x, np.asarray(self.scale, "f8"))
                self._checked = True
            for j in range(1, order + 1):
                vs = [_flat(v.astype("f8"), 2) for v in directions[: along(j)]]
                terms.append(self._derivative(x, value, vs, free=j - along(j)))
            return [term.astype(dtype) for term in terms]

        if tf.executing_eagerly():
            terms = [tf.constant(t) for t in compute(*(t.numpy() for t in (x, *directions)))]
        else:
            terms = tf.numpy_function(compute, [x, *directions], [x.dtype] * (order + 1))
        terms[0].set_shape(_joined(x.shape[:1], self._black_box.outputs))
        lead = directions[0].shape[:2] if directions else x.shape[:1]
        for j, term in enumerate(terms[1:], 1):
            free = [x.shape[1:]] * (j - along(j))
            term.set_shape(_joined(lead, self._black_box.outputs, *free))
        return jets.Jet(terms[0], tuple(terms[1:]))

    def _derivative(self, x, value, directions, free):
        """D^j f[v1, ..., ·, ...] [B,P,*out,*in × free], or without P where no v is given."""
        dims, size = x.shape[1:], math.prod(x.shape[1:])
        # Derivatives commute: of two free arguments, the entries (i, k) with i ≤ k are enough.
        index = np.array(np.triu_indices(size)) if free == 2 else np.arange(size**free)[None][:free]
        projections, entries = directions[0].shape[1] if directions else 1, index.shape[1]

        def pick(s):
            p, entry = np.divmod(np.arange(projections * entries)[s], entries)
            basis = [(i[entry, None] == np.arange(size))[None].astype("f8") for i in index]
            return [v[:, p] for v in directions] + basis

        some = max(1, _AT_ONCE // max(1, 4 * x.size))
        slices = [slice(i, i + some) for i in range(0, projections * entries, some)]
        d = np.concatenate([self._difference(x, value, *pick(s)) for s in slices], axis=1)
        full = np.empty([len(x), projections, size**free, d.shape[-1]])
        strides = size ** np.arange(free)
        for order in (strides, strides[::-1]):  # (i, k) and (k, i)
            full[:, :, order @ index] = d.reshape(len(x), projections, entries, d.shape[-1])
        lead = full.shape[: 2 if directions else 1]
        return full.swapaxes(2, 3).reshape(*lead, *value.shape[1:], *dims * free)

    def _difference(self, x, value, *directions):
        """D^j f[v1, ..., vj] [B,p,K]: a difference of differences, one for each direction."""
        rows, dims, base = len(x), x.shape[1:], _flat(value, 1)[:, None]
        # The precision of fn: the coarser one of its argument and its result.
        precisions = np.finfo(self.dtype), np.finfo(self._black_box.returned or self.dtype)
        coarse = max(precisions, key=lambda precision: precision.eps)
        x = _flat(x.astype(coarse.dtype).astype("f8"), 1)[:, None]
        size = np.maximum(np.abs(x), _per_component(self.scale, dims, "scale"))
        step = None if self.step is None else _per_component(self.step, dims, "step")

        width: Any = 1.0
        imaginary: Any = 0.0
        if self.scheme == "complex":
            v, directions = directions[0], directions[1:]
            width = _reach(v, _IMAGINARY * size if step is None else step)
            imaginary, step = 1j * width[..., None] * v, None
        sides = (0, 1) if self.scheme == "forward" else (-1, 1)
        if step is None:
            step = size * coarse.eps ** (1 / (len(directions) + sides[1] - sides[0]))
        ends = []
        for v in directions:
            h = _reach(v, step)[..., None] * v
            low, high = ((x + side * h).astype(coarse.dtype) - x for side in sides)
            ends.append((low, high))
            # The step to divide by is the one between the rounded ends, not the requested one.
            square = np.sum(v**2, -1)
            taken = np.sum((high - low) * v, -1) / np.where(square, square, 1)
            width = width * np.where(square, taken, 1)
        if not np.all(width):
            row = np.argwhere(width == 0)[0][0]
            raise ValueError(
                f"{_CALLER}: step={self.step!r} is lost in {coarse.dtype} rounding in row {row} of "
                f"x, {shown(x[row, 0])}: make it longer, or leave it out."
            )

        corners, signs, total = [], [], 0.0
        for corner in itertools.product((0, 1), repeat=len(ends)):
            sign = (-1) ** corner.count(0)
            if self.scheme == "forward" and not any(corner):  # x itself
                total = sign * base
                continue
            offset = sum(end[side] for end, side in zip(ends, corner, strict=True))
            corners.append(x + offset + imaginary)
            signs.append(sign)
        points = np.stack(corners, axis=1)  # [B,corners,p,D]
        y = self._black_box.evaluate(points.reshape(-1, *dims), rows)
        y = y.reshape(*points.shape[:3], base.shape[-1])
        own_step = self.step is None and self.scheme != "complex"
        if len(ends) == 1 and own_step and not self._checked and len(x):
            far = (x + 2 * ends[0][1])[: doubts.ROWS].reshape(-1, *dims)
            self._doubt(far, np.broadcast_to(base, y[:, 0].shape), y)
        total = total + np.einsum("c,bcpk->bpk", signs, y)
        return (total.imag if self.scheme == "complex" else total) / width[..., None]

    def _doubt(self, points, base, y):
        """Warn once of a function whose values jump within a step, or have too few digits."""
        values, least = [y[:, 0], base, y[:, -1]], doubts.ROUNDED
        if self.scheme == "forward":  # a few rows, stepped twice as far, for want of a side below
            base, least = base[: doubts.ROWS], doubts.ROUNDED_SHORT
            far = self._black_box.evaluate(points, len(base)).reshape(base.shape)
            values = [base, y[: len(base), 0], far]
        single = self._black_box.returned == "f4"
        warned = doubts.warn_of_jumps(base, values, least, single)
        self._checked = warned or self.scheme == "forward"


def _joined(*parts: Any) -> tf.TensorShape:
    """One static shape of several; None is an unknown number of axes."""
    return sum(map(tf.TensorShape, parts[1:]), tf.TensorShape(parts[0]))


def _per_component(lengths: ArrayLike, dims: tuple, name: str) -> np.ndarray:
    """A number, or an array over *in, as it broadcasts against [B,P,D]."""
    lengths = np.asarray(lengths, np.float64)
    if lengths.shape not in ((), dims):
        raise ValueError(
            f"{_CALLER}: {name} has shape {lengths.shape}, expected a number or shape {dims}."
        )
    return lengths.reshape(-1)


def _refuse_no_length(name: str, length: Any) -> None:
    lengths = np.asarray(length)
    number = lengths.dtype.kind in "fiu"
    if not number or not np.all(np.isfinite(lengths) & np.greater(lengths, 0)):
        raise ValueError(
            f"{_CALLER}: {name} is a length, finite and above 0, got {require.shown(length)}."
        )


def _flat(a: np.ndarray, lead: int) -> np.ndarray:
    """a with all axes after the first `lead` as one."""
    return a.reshape(*a.shape[:lead], math.prod(a.shape[lead:]))


def _reach(v: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """t [B,p] that makes t·v one unit long, each component measured in its unit; v [B,p,D]."""
    largest = np.max(unit, initial=0.0)  # keeps the squares in range
    length = np.linalg.norm(v * (largest / unit), axis=-1)
    return largest / np.where(length, length, 1)
