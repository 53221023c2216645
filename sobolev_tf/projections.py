"""Random projections: derivatives along directions that are drawn anew at every step (equation 2).

`FullDerivatives` (equation 1) and `ProjectedDerivatives` (equation 2) each compute the jet of a
function, and turn labels into the same form. `Projection.sample(step)` makes the latter.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from sobolev_tf import jets, require
from sobolev_tf.jets import contractions

SIDES = ("output", "input")
CONTRACTIONS = ("distinct", "same", "first")


def check(caller: str, contraction: str, unbiased: bool, orthogonal: bool, seed: int) -> None:
    """Check the settings of `Projection` that models take under the same names.

    Raises:
      ValueError: a setting is unknown; the error names the caller.
    """
    require.one_of(caller, "contraction", contraction, CONTRACTIONS)
    require.switch(caller, "unbiased", unbiased)
    require.switch(caller, "orthogonal", orthogonal)
    seed = require.whole_number(caller, "seed", seed)
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"{caller}: seed is a whole number of 64 bits, got {seed}.")


class FullDerivatives:
    """Full derivatives, as in equation 1."""

    def jet(self, fn: Callable, x: tf.Tensor, order: int) -> jets.Jet:
        """Compute the value and full derivatives of `fn` at x, as `jets.jet` does."""
        return _of(fn, jets.jet)(x, order)

    def label(self, label: tf.Tensor, j: int, x: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        """Return the label D^j [B,*out,*in × j] as it is."""
        return label


@dataclasses.dataclass(frozen=True)
class Projection:
    """Settings of random directions, P per example, uniform on the unit sphere (equation 2).

    Args:
      side: "output" for D^j <f, v>; "input" for derivatives of f along v.
      count: P, the number of directions per example.
      contraction: the directions that D^j is contracted with, for side="input". "distinct": v1,
        ..., vj. "same": one v, j times. "first": v as the first argument only, D^j f[v, ...], which
        at order 2 is the Hessian-vector product H v.
      unbiased: whether directions have length √n instead of 1, where n is the size of the projected
        side. The expectation of a squared loss is then the full loss. This holds for "distinct" at
        any order, since independent directions compose. It does not hold for "same" at order 2,
        where E D²f[v,v]² = (2|H|² + tr²H) / (n(n+2)), nor for losses that are not squared.
      orthogonal: whether the P directions of an example are orthogonal to each other, which needs
        P <= n.
      seed: seed of the directions.
      length: a factor of every direction. For side="output", 255 turns a gradient with respect to
        bytes into one with respect to bytes / 255, at no cost.

    Raises:
      ValueError: a setting is unknown, or count is below 1.

    Example:

    >>> kind = Projection("input", count=2, seed=7).sample(step=1)
    >>> x = tf.ones([4, 3])
    >>> kind.jet(lambda x: x**2, x, order=1).derivatives[0].shape  # [B,P,K]
    TensorShape([4, 2, 3])
    >>> kind.label(tf.ones([4, 3, 3]), 1, x, x).shape
    TensorShape([4, 2, 3])
    """

    side: str
    count: int = 1
    contraction: str = "distinct"
    unbiased: bool = False
    orthogonal: bool = False
    seed: int = 0
    length: float = 1.0

    def __post_init__(self):
        caller = "Projection"
        require.one_of(caller, "side", self.side, SIDES)
        require.whole_number(caller, "count", self.count, at_least=1)
        check(caller, self.contraction, self.unbiased, self.orthogonal, self.seed)
        require.number(caller, "length", self.length, above=0)

    def sample(self, step: int | tf.Tensor) -> "ProjectedDerivatives":
        """Fix the directions of one training step; every replica has its own.

        Args:
          step: number of the step; the same step and seed give the same directions.

        Returns:
          `ProjectedDerivatives`.
        """
        replica = tf.distribute.get_replica_context()
        seed = tf.stack([tf.constant(self.seed, tf.int64), tf.cast(step, tf.int64)])
        seed = tf.random.fold_in(seed, replica.replica_id_in_sync_group if replica else 0)
        return ProjectedDerivatives(self, seed)


class ProjectedDerivatives:
    """Derivatives along the random directions of one step, as in equation 2.

    Functions and labels are projected along the same directions.

    Args:
      projection: the settings.
      seed: two integers that fix the step's directions.
      known: [B,*in], booleans: the input components that directions may have; None for all.
    """

    def __init__(self, projection: Projection, seed: tf.Tensor, known: tf.Tensor | None = None):
        self.projection = projection
        self.seed, self.known = seed, known
        self._directions: dict[int, tf.Tensor] = {}

    def among(self, known: tf.Tensor) -> "ProjectedDerivatives":
        """Restrict the directions of each example to its known input components.

        The other components of a direction are zero, so that a label with some NaN can be used.

        Args:
          known: [B,*in], booleans.

        Returns:
          New `ProjectedDerivatives`; for side="output" these.
        """
        if self.projection.side == "output":
            return self
        return ProjectedDerivatives(self.projection, self.seed, known)

    def directions(self, like: tf.Tensor, j: int) -> tf.Tensor:
        """Return the j-th directions [B,P,*dims] for `like` [B,*dims]; they are drawn only once."""
        p = self.projection
        j = 0 if p.contraction != "distinct" else j
        if j not in self._directions:
            # Drawn once for both sides: with another dtype, the same seed gives other numbers.
            radius = math.sqrt(like.shape[1:].num_elements()) if p.unbiased else 1.0
            radius *= p.length
            key = tf.random.fold_in(self.seed, j)
            v = sphere(like, p.count, key, radius, p.orthogonal)
            if self.known is not None:
                v = tf.where(self.known[:, None], v, tf.zeros_like(v))
            self._directions[j] = v
        return self._directions[j]

    def jet(self, fn: Callable, x: tf.Tensor, order: int) -> jets.Jet:
        """Compute the value of `fn` at x and its projected derivatives up to `order`.

        Returns:
          A `Jet`: value [B,*out]; D^j is [B,P,*in × j] for side="output", [B,P,*out] for
          side="input", and [B,P,*out,*in × (j-1)] for contraction="first".
        """
        if self.projection.side == "output":
            return _of(fn, jets.projected_jet)(x, order, lambda value: self.directions(value, 0))
        if self.projection.contraction == "first":
            return _of(fn, jets.partial_jet)(x, self.directions(x, 0), order)
        return _of(fn, jets.directional_jet)(x, [self.directions(x, j) for j in range(order)])

    def label(self, label: tf.Tensor, j: int, x: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        """Project a label D^j [B,*out,*in × j] as `jet` projects a derivative.

        Args:
          label: D^j [B,*out,*in × j]; at j = 0, the value, which is not projected.
          j: the order.
          x: [B,*in].
          value: f(x) [B,*out].

        Returns:
          The projected label; NaN in rows of which `among` knows no component.
        """
        if j == 0:
            return label
        if self.projection.side == "output":
            return contractions.contract_outputs(label, self.directions(value, 0))
        along = 1 if self.projection.contraction == "first" else j
        directions = [self.directions(x, i) for i in range(along)]
        if self.known is None:
            return contractions.contract_inputs(label, directions, j)
        label = contractions.contract_inputs(self._without_unknown(label, j), directions, j)
        # Where nothing is known, the direction is zero: its 0 would pass for a label.
        known = tf.reduce_any(self.known, list(range(1, len(self.known.shape))))
        known = tf.reshape(known, [-1, *[1] * (len(label.shape) - 1)])
        return tf.where(known, label, tf.constant(math.nan, label.dtype))

    def _without_unknown(self, label, j):
        """D^j with zeros for unknown arguments: zero times NaN would be NaN."""
        known: Any = self.known
        dims = len(known.shape) - 1
        outputs = len(label.shape) - 1 - j * dims
        for i in range(j):
            before, after = [1] * (outputs + i * dims), [1] * ((j - 1 - i) * dims)
            shape = [tf.shape(label)[0], *before, *known.shape[1:], *after]
            label = tf.where(tf.reshape(known, shape), label, tf.zeros_like(label))
        return label


def known_components(label: tf.Tensor, dims: int, j: int) -> tf.Tensor:
    """Tell for which input components a label D^j has any known entry.

    Args:
      label: [B,*out,*in × j], NaN where an entry is unknown.
      dims: the number of axes of *in.
      j: the order.

    Returns:
      [B,*in], booleans: whether any entry of the component is known.

    Example:

    >>> known_components(tf.constant([[[1.0, math.nan]]]), dims=1, j=1).numpy().tolist()
    [[True, False]]
    """
    rank = len(label.shape)
    first = rank - j * dims
    others = [*range(1, first), *range(first + dims, rank)]
    number = tf.math.is_nan(label) if label.dtype.is_floating else tf.zeros_like(label, bool)
    return tf.reduce_any(~number, others)


def sphere(
    like: tf.Tensor,
    projections: int,
    seed: Sequence[int] | tf.Tensor,
    radius: float = 1.0,
    orthogonal: bool = False,
) -> tf.Tensor:
    """Draw P random directions per example, uniform on the sphere of `radius`.

    They are drawn in float32 or wider. For a fixed e in R^n, E <e,v>² = radius² |e|²/n, so with
    a radius of √n the square of one projection is an unbiased estimate of |e|².

    Args:
      like: [B,*dims], for shape and dtype.
      projections: P, the number of directions per example.
      seed: two integers.
      radius: the length of every direction.
      orthogonal: whether the P directions of an example are orthogonal to each other.

    Returns:
      [B,P,*dims].

    Raises:
      ValueError: there are more orthogonal projections than dimensions.

    Example:

    >>> v = sphere(tf.zeros([4, 3, 2]), projections=5, seed=(0, 1))
    >>> v.shape, bool(tf.reduce_all(tf.abs(tf.norm(v, axis=[2, 3]) - 1) < 1e-6))
    (TensorShape([4, 5, 3, 2]), True)
    """
    wide = tf.float64 if like.dtype == tf.float64 else tf.float32
    batch, dims = tf.split(tf.shape(like), [1, len(like.shape) - 1])
    shape = tf.concat([batch, [projections], dims], 0)
    # By name: the default algorithm is another one under XLA.
    v = tf.random.stateless_normal(shape, seed, dtype=wide, alg="philox")
    v.set_shape([like.shape[0], projections, *like.shape[1:]])
    if orthogonal:
        return tf.cast(radius * _orthonormal(v), like.dtype)
    square = tf.reduce_sum(v**2, list(range(2, len(v.shape))), keepdims=True)
    return tf.cast(radius * v * tf.math.rsqrt(tf.maximum(square, 1e-30)), like.dtype)


def _orthonormal(v):
    """Normal v [B,P,*dims] as P orthonormal directions, each uniform on the sphere."""
    size = v.shape[2:].num_elements()
    if v.shape[1] > size:
        raise ValueError(
            f"{v.shape[1]} orthogonal projections do not exist in {size} dimensions: take at "
            f"most {size}."
        )
    flat = tf.reshape(v, [tf.shape(v)[0], v.shape[1], size])
    q, r = tf.linalg.qr(tf.linalg.matrix_transpose(flat))
    # The signs of q depend on the algorithm of QR; the diagonal's signs make them random again.
    q *= tf.sign(tf.linalg.diag_part(r))[:, None]
    return tf.ensure_shape(tf.reshape(tf.linalg.matrix_transpose(q), tf.shape(v)), v.shape)


def _of(fn: Any, make: Callable) -> Callable:
    """The jet function of `fn`: its own if it has one (a black box), else by autodiff."""
    own = getattr(fn, make.__name__, None)
    return own or (lambda x, *rest: make(fn, x, *rest))
