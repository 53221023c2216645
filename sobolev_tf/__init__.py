"""Sobolev training for TensorFlow and Keras: networks that match values and derivatives.

Axis letters: B batch, D input dimensions, K outputs, J order, P projections.
"""

from sobolev_tf import labels, losses, nets, targets
from sobolev_tf.jets import Jet, input_jet, jet, jvp, output_jet, vjp
from sobolev_tf.model import SobolevModel

__all__ = [
    "Jet",
    "SobolevModel",
    "input_jet",
    "jet",
    "jvp",
    "labels",
    "losses",
    "nets",
    "output_jet",
    "targets",
    "vjp",
]
