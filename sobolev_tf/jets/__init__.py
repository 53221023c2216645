"""Jets: a function's value and derivatives at a point, in full or along directions."""

from sobolev_tf.jets.derivatives import (
    Jet,
    as_differentiable,
    at_least_float32,
    directional_jet,
    hvp,
    jet,
    jvp,
    partial_jet,
    projected_jet,
    reshape_derivative,
    vjp,
)

__all__ = [
    "Jet",
    "as_differentiable",
    "at_least_float32",
    "directional_jet",
    "hvp",
    "jet",
    "jvp",
    "partial_jet",
    "projected_jet",
    "reshape_derivative",
    "vjp",
]
