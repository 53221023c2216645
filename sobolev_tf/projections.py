"""Random projections: how equation 2 looks at jets, along directions that are drawn anew.

A *view* answers two questions alike: what a function's jet looks like (`jet`), and what a label
looks like (`label`). `FullDerivatives` is equation 1; `Projection.sample(step)` is equation 2.
"""

import dataclasses
import math

import tensorflow as tf

from sobolev_tf import jets

CONTRACTIONS = ("distinct", "same", "first")


class FullDerivatives:
    """Full derivatives: nothing is projected."""

    def jet(self, fn, x, order: int) -> jets.Jet:
        return _of(fn, jets.jet)(x, order)

    def label(self, label, j: int, x, value):
        return label


@dataclasses.dataclass(frozen=True)
class Projection:
    """P random directions per example, uniform on the unit sphere (equation 2).

    side: "output" for D^j <f, v>; "input" for derivatives of f along v.
    count: P.
    contraction: on the inputs, what D^j is contracted with: "distinct" v1, ..., vj; the "same"
        v, j times; or the "first" argument alone, D^j f[v, ...], for order 2 the Hessian-vector
        product H v.
    unbiased: directions of length √n in place of 1, n the size of the projected side: a squared
        loss then has the full loss's expectation. Independent directions compose, so this holds
        for "distinct" at any order. No factor does it for "same" at order 2, where
        E D²f[v,v]² = (2|H|² + tr²H) / (n(n+2)), nor for losses that are not squared.
    orthogonal: the P directions of an example are orthogonal; P is at most n then.
    length: what every direction is multiplied by. On the outputs, 255 turns a gradient with
        respect to bytes into one with respect to their share of 255, at no cost.

    Raises ValueError at a setting that is unknown or that no factor mends.

    >>> view = Projection("input", count=2, seed=7).sample(step=1)
    >>> x = tf.ones([4, 3])
    >>> view.jet(lambda x: x**2, x, order=1).derivatives[0].shape  # [B,P,K]
    TensorShape([4, 2, 3])
    >>> view.label(tf.ones([4, 3, 3]), 1, x, x).shape
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
        if self.side not in ("output", "input"):
            raise ValueError(f'projection is None, "output" or "input", got {self.side!r}.')
        if self.count < 1:
            raise ValueError(f"projections is at least 1, got {self.count}.")
        if self.contraction not in CONTRACTIONS:
            raise ValueError(f"contraction is one of {CONTRACTIONS}, got {self.contraction!r}.")

    def sample(self, step) -> "ProjectedDerivatives":
        """The view of one training step; other replicas look along other directions."""
        replica = tf.distribute.get_replica_context()
        seed = tf.stack([tf.constant(self.seed, tf.int64), tf.cast(step, tf.int64)])
        seed = tf.random.fold_in(seed, replica.replica_id_in_sync_group if replica else 0)
        return ProjectedDerivatives(self, seed)


class ProjectedDerivatives:
    """A projection along one step's directions: the same ones for function and labels."""

    def __init__(self, projection, seed):
        self.projection = projection
        self.seed = seed
        self.drawn = {}

    def directions(self, like, j: int):
        """The j-th directions [B,P,*dims], for `like` [B,*dims]; drawn once."""
        p = self.projection
        j = 0 if p.contraction != "distinct" else j
        if j not in self.drawn:
            # Once for both sides: other dtypes would draw other numbers from the same seed.
            radius = math.sqrt(like.shape[1:].num_elements()) if p.unbiased else 1.0
            radius *= p.length
            key = tf.random.fold_in(self.seed, j)
            self.drawn[j] = sphere(like, p.count, key, radius, p.orthogonal)
        return self.drawn[j]

    def jet(self, fn, x, order: int) -> jets.Jet:
        if self.projection.side == "output":
            return _of(fn, jets.projected_jet)(x, order, lambda value: self.directions(value, 0))
        if self.projection.contraction == "first":
            return _of(fn, jets.partial_jet)(x, self.directions(x, 0), order)
        return _of(fn, jets.directional_jet)(x, [self.directions(x, j) for j in range(order)])

    def label(self, label, j: int, x, value):
        """Label D^j [B,*out,*in × j] as `jet` would show it."""
        if j == 0:
            return label
        if self.projection.side == "output":
            return jets.contract_outputs(label, self.directions(value, 0))
        along = 1 if self.projection.contraction == "first" else j
        return jets.contract_inputs(label, [self.directions(x, i) for i in range(along)], j)


def sphere(like, projections: int, seed, radius: float = 1.0, orthogonal: bool = False):
    """P random directions per example, uniform on the sphere of `radius`: [B,P,*dims].

    like: [B,*dims], for shape and dtype; seed: two integers. Drawn in float32 or wider. For a
    fixed e in R^n, E <e,v>² = radius² |e|²/n: radius √n makes one projection's square unbiased.
    orthogonal: the P directions of an example are orthogonal to each other.

    >>> v = sphere(tf.zeros([4, 3, 2]), projections=5, seed=(0, 1))
    >>> v.shape, bool(tf.reduce_all(tf.abs(tf.norm(v, axis=[2, 3]) - 1) < 1e-6))
    (TensorShape([4, 5, 3, 2]), True)
    """
    wide = tf.float64 if like.dtype == tf.float64 else tf.float32
    batch, dims = tf.split(tf.shape(like), [1, len(like.shape) - 1])
    v = tf.random.stateless_normal(tf.concat([batch, [projections], dims], 0), seed, dtype=wide)
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
            f"{v.shape[1]} orthogonal projections do not exist in {size} dimensions: ask for at "
            f"most {size}."
        )
    flat = tf.reshape(v, [tf.shape(v)[0], v.shape[1], size])
    q, r = tf.linalg.qr(tf.linalg.matrix_transpose(flat))
    # QR fixes the signs of q by an algorithm; the diagonal's signs make them random again.
    q *= tf.sign(tf.linalg.diag_part(r))[:, None]
    return tf.ensure_shape(tf.reshape(tf.linalg.matrix_transpose(q), tf.shape(v)), v.shape)


def _of(fn, make):
    """The jet function of `fn`: its own where it has one (a black box), else by autodiff."""
    own = getattr(fn, make.__name__, None)
    return own or (lambda x, *rest: make(fn, x, *rest))
