"""Which outputs neighbors can judge, and why not the others: a rise implies all slopes."""

import dataclasses
import math

import numpy as np

from sobolev_tf.check.data import Data
from sobolev_tf.check.hypothesis import component_names
from sobolev_tf.check.report import Finding
from sobolev_tf.check.secants import Secants

_RISES = 8  # fewer rises between neighbors cannot decide; chosen by hand on the cases of the tests
_SHOWN = 6  # inputs that are named


def judged_outputs(data: Data, secants: Secants | None) -> np.ndarray:
    """Tell which outputs [K] have enough rises between neighbors with all labels."""
    if secants is None:
        return np.zeros(data.y.shape[1], bool)
    return np.isfinite(secants.rise).sum((0, 1)) >= _RISES


def not_judged(data: Data, judged: np.ndarray) -> list[Finding]:
    """Say of each output that is not judged what it lacks, outputs that lack the same together."""
    reasons: dict[str, list] = {}
    for k in np.flatnonzero(~judged).tolist():
        reasons.setdefault(_reason(data, k), []).append(k)
    return [
        Finding("cannot tell", math.nan, text, component_names(data.shape_out, outputs))
        for text, outputs in reasons.items()
    ]


def not_varied(data: Data) -> list[Finding]:
    """Say which inputs are the same in all rows: no step is along them."""
    known = np.isfinite(data.dy).any((0, 1))
    if not len(data.x) or not (same := (data.x == data.x[0]).all(0) & known).any():
        return []
    text = "not judged: the same in every row; give fn, which checks these slopes"
    inputs = component_names(data.shape_in, np.flatnonzero(same).tolist())
    return [Finding("cannot tell", math.nan, text, inputs=inputs)]


def name_judged(data: Data, judged: np.ndarray, findings: list[Finding]) -> list[Finding]:
    """Name the judged outputs in findings that are about all of these."""
    names = component_names(data.shape_out, np.flatnonzero(judged).tolist())
    return [f if f.outputs else dataclasses.replace(f, outputs=names) for f in findings]


def without_others(
    data: Data, secants: Secants, judged: np.ndarray, residual: np.ndarray
) -> tuple[Data, Secants, np.ndarray]:
    """Return labels, evidence and residuals [A,N,K] of the judged outputs alone."""
    part = data._replace(y=data.y[:, judged], dy=data.dy[:, judged], shape_out=(judged.sum(),))
    rise, scale = secants.rise[..., judged], secants.scale[..., judged]
    return part, secants._replace(rise=rise, scale=scale), residual[..., judged]


def _reason(data: Data, k: int) -> str:
    value, slopes = np.isfinite(data.y[:, k]), np.isfinite(data.dy[:, k])
    absent = np.flatnonzero(~slopes.any(0)).tolist()
    if not len(data.y):
        return "not judged: there are no rows"
    if not value.any():
        return "not judged: its value is missing in every row"
    if len(absent) == slopes.shape[1]:
        return "not judged: its slopes are missing in every row"
    if absent:
        names = component_names(data.shape_in, absent)
        listed = ", ".join(map(str, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
        which = (
            f"slope of input {listed} is" if len(names) == 1 else f"slopes of inputs {listed} are"
        )
        return f"not judged: the {which} missing in every row; give fn, which checks the others"
    whole = int((value & slopes.all(1)).sum())
    if whole < len(value):
        return (
            f"not judged: {whole} of {len(value)} rows have its value and all its slopes, too few "
            "of them neighbors; give fn, which checks each slope by itself"
        )
    return "not judged: there are too few rows, or they are at one point"
