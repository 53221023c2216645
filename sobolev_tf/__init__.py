"""Sobolev training for TensorFlow and Keras: networks that match values and derivatives.

Axis letters: B batch, D input dimensions, K outputs, J order, P projections.
"""

from sobolev_tf import (
    decoupled,
    distillation,
    labels,
    losses,
    nets,
    placement,
    synthetic,
    targets,
)
from sobolev_tf.check import check_labels
from sobolev_tf.decoupled import DecoupledModel
from sobolev_tf.distillation import PolicyDistiller
from sobolev_tf.jets import Jet, hvp, input_jet, jet, jvp, output_jet, partial_jet, vjp
from sobolev_tf.lbfgs import fit_lbfgs
from sobolev_tf.least_squares import fit_least_squares
from sobolev_tf.model import SobolevModel
from sobolev_tf.splitting import split
from sobolev_tf.synthetic import SyntheticGradient

__all__ = [
    "DecoupledModel",
    "Jet",
    "PolicyDistiller",
    "SobolevModel",
    "SyntheticGradient",
    "check_labels",
    "decoupled",
    "distillation",
    "fit_lbfgs",
    "fit_least_squares",
    "hvp",
    "input_jet",
    "jet",
    "jvp",
    "labels",
    "losses",
    "nets",
    "output_jet",
    "partial_jet",
    "placement",
    "split",
    "synthetic",
    "targets",
    "vjp",
]
