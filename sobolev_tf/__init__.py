"""Sobolev training for TensorFlow and Keras: networks that match values and derivatives.

Axis letters: B batch, D input dimensions, K outputs, J order, P projections.
"""

from sobolev_tf import distillation, losses, nets, synthetic, targets
from sobolev_tf.check import check_labels
from sobolev_tf.distillation import PolicyDistiller
from sobolev_tf.jets import Jet, directional_jet, hvp, jet, jvp, partial_jet, projected_jet, vjp
from sobolev_tf.model.sobolev import SobolevModel
from sobolev_tf.solvers.lbfgs import fit_lbfgs
from sobolev_tf.solvers.least_squares import fit_least_squares
from sobolev_tf.synthetic.decoupled import DecoupledModel
from sobolev_tf.synthetic.layers import SyntheticGradient
from sobolev_tf.synthetic.splitting import split

__all__ = [
    "DecoupledModel",
    "Jet",
    "PolicyDistiller",
    "SobolevModel",
    "SyntheticGradient",
    "check_labels",
    "directional_jet",
    "distillation",
    "fit_lbfgs",
    "fit_least_squares",
    "hvp",
    "jet",
    "jvp",
    "losses",
    "nets",
    "partial_jet",
    "projected_jet",
    "split",
    "synthetic",
    "targets",
    "vjp",
]
