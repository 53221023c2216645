"""Sobolev training for TensorFlow and Keras: networks that match values and derivatives.

Czarnecki et al., "Sobolev Training for Neural Networks", NeurIPS 2017.

Axis letters in shapes:

| letter | axis |
| --- | --- |
| B | batch: examples |
| *in, D | the axes of an input, and the number of its components |
| *out, K | the axes of an output, and the number of its components |
| J, j | the highest order of derivatives, and any order up to it |
| P | random directions per example |
| A | actions |
| H, W, C | height, width and channels of images; *H stands for all axes of activations h |
| T | time: steps of an episode, or of an unroll |
"""

from typing import Any

from sobolev_tf.keras_support import backend  # noqa: F401

# isort: split
from sobolev_tf import distillation, losses, nets, synthetic, targets
from sobolev_tf.check import check_labels
from sobolev_tf.distillation import PolicyDistiller
from sobolev_tf.jets import Jet, directional_jet, hvp, jet, jvp, partial_jet, projected_jet, vjp
from sobolev_tf.keras_support import schedules
from sobolev_tf.model.sobolev import SobolevModel
from sobolev_tf.projections import Projection
from sobolev_tf.solvers.lbfgs import fit_lbfgs
from sobolev_tf.solvers.least_squares import fit_least_squares
from sobolev_tf.solvers.surrogate import fit_surrogate
from sobolev_tf.synthetic.decoupled import DecoupledModel
from sobolev_tf.synthetic.layers import SyntheticGradient
from sobolev_tf.synthetic.splitting import split

__version__ = "0.1.0"

__all__ = [
    "DecoupledModel",
    "Jet",
    "PolicyDistiller",
    "Projection",
    "SobolevModel",
    "SobolevRegressor",
    "SyntheticGradient",
    "check_labels",
    "directional_jet",
    "distillation",
    "fit_lbfgs",
    "fit_least_squares",
    "fit_surrogate",
    "hvp",
    "jet",
    "jvp",
    "losses",
    "nets",
    "partial_jet",
    "projected_jet",
    "schedules",
    "split",
    "synthetic",
    "targets",
    "vjp",
]


def __getattr__(name: str) -> Any:
    """Import the estimator when it is first used: scikit-learn is an optional dependency."""
    if name != "SobolevRegressor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from sobolev_tf.estimator import SobolevRegressor
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("sklearn"):
            raise
        raise ModuleNotFoundError(
            "sobolev_tf.SobolevRegressor needs scikit-learn: pip install scikit-learn, or "
            'pip install ".[sklearn]" in a checkout.',
            name="sklearn",
        ) from None
    return SobolevRegressor
