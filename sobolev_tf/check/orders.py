"""Hypotheses that dy is in another order: its rows, or its axes."""

import itertools
import math
from collections.abc import Iterator

import numpy as np

from sobolev_tf.check.data import Data
from sobolev_tf.check.hypothesis import Hypothesis, judge, robust_loss
from sobolev_tf.check.report import Finding
from sobolev_tf.check.secants import Secants, implied_rises
from sobolev_tf.check.statistics import mean_of

_OFFSETS = (1, -1, 2, -2, 3, -3)  # of rows that neighbors can tell: each costs a pass

# Axes that are searched for another order: of more, the search is long and seldom right.
_AXES, _INPUTS, _OUTPUTS = 4, 256, 64
_SHOWN = 8  # entries of an order that are printed
_RIDGE = 1e-6  # of the squared steps: along some input there may be none

# Looking rows up, with the function. Chosen by hand on the cases of tests/library/check.
_LOOKED_UP = 32  # slopes of a row that are compared
_ONE_OFFSET = 0.8  # of the rows are found at one offset if that is what is wrong
_SHUFFLED = 0.5  # the least misfit of shuffled labels; noisy ones fit some other row, too
_NEVER = 1e9  # a slope that no row has, in place of a missing one


def rearranged_labels(data: Data, secants: Secants) -> Iterator[Hypothesis]:
    """Suppose that dy has its rows or axes in another order."""
    for offset in _OFFSETS:
        text = f"the label of row i is in row i{offset:+d}: np.roll(dy, {-offset}, axis=0)"
        rows = np.roll(np.arange(len(data.dy)), -offset)
        rise = implied_rises(data, secants, rows=rows).sum(-1)
        yield judge(secants, [Finding("shuffled rows", offset, text)], rise)
    entries = np.arange(data.dy[0].size).reshape(data.dy.shape[1:])
    for text, order in _orders(data, secants, entries):
        if moved := int((order != entries).sum()):
            rise = implied_rises(data, secants, order=order).sum(-1)
            yield judge(secants, [Finding("swapped axes", moved, text)], rise)


def labels_of_other_rows(
    data: Data, secants: Secants, explained: Hypothesis
) -> Iterator[Hypothesis]:
    """Suppose that each row's label is in the row whose label fits the slopes of fn best."""
    probe, output = np.divmod(np.arange(secants.rise[0].size)[:_LOOKED_UP], secants.rise.shape[2])
    inputs = secants.step[0].argmax(1)[probe]
    scale = secants.scale[0, probe, output]
    slopes = np.nan_to_num(secants.rise[:, probe, output] / scale)
    labels = data.dy[:, output, inputs] * (data.unit[inputs] / scale)
    labels = np.nan_to_num(labels, nan=_NEVER)
    rows = np.arange(len(labels))
    rows[secants.tail] = ((labels**2).sum(1) - 2 * slopes @ labels.T).argmin(1)
    offsets = (rows[secants.tail] - secants.tail) % len(rows)
    offset = int(np.median(offsets))
    rise = implied_rises(data, secants, rows=rows).sum(-1)
    if offset and (offsets == offset).mean() > _ONE_OFFSET:
        text = f"the label of row i is in row i+{offset}: np.roll(dy, {-offset}, axis=0)"
        yield judge(secants, [Finding("shuffled rows", offset, text)], rise)
    elif explained.misfit > _SHUFFLED:
        text = "each label is found in some other row: dy is in another order than x"
        yield judge(secants, [Finding("shuffled rows", math.nan, text)], rise)


def _orders(data: Data, secants: Secants, entries: np.ndarray) -> Iterator[tuple]:
    """(what is wrong, order [K,D]): where in dy each entry may be found."""
    shape, (outputs, inputs) = data.shape_in, entries.shape
    if outputs == inputs:
        yield "outputs and inputs are transposed: the axes are batch, outputs, inputs", entries.T
    for axes in itertools.permutations(range(len(shape) if len(shape) <= _AXES else 0)):
        order = np.argsort(np.arange(inputs).reshape(shape).transpose(axes).ravel())
        yield f"the input axes of dy come in the order {axes}", entries[:, order]
    if 1 < inputs <= _INPUTS:
        order = _pair(_agreement(data, secants))
        yield f"the inputs of dy are mixed up: {_advice('dy[..., {}]', order)}", entries[:, order]
    if 1 < outputs <= _OUTPUTS:
        rise = implied_rises(data, secants).sum(-1)[..., None, :]
        part = secants._replace(rise=secants.rise[..., None], scale=secants.scale[..., None])
        order = _pair(-mean_of(robust_loss(part, rise), (0, 1)).T)
        yield f"the outputs of dy are mixed up: {_advice('dy[:, {}]', order)}", entries[order]


def _advice(how: str, order: np.ndarray) -> str:
    if len(order) > _SHOWN:
        return "compare their order"
    return f"pass {how.format(order.tolist())}"


def _agreement(data: Data, secants: Secants) -> np.ndarray:
    """How well each input's entry of dy agrees with the slope along each input, [D,D], by moments.

    A rise times its step over the step's squared length is the slope on average, so this is
    2 E dy_d slope_e - E dy_d²: their squared distance with its sign turned, up to a constant.
    """
    length = np.linalg.norm(secants.step, axis=-1)[..., None]
    weight = 1 / mean_of(secants.scale / length, 1)[:, None, :, None]
    mean = (data.dy[secants.tail][:, None] + data.dy[secants.head].astype(np.float64)) / 2 * weight
    way = secants.step / length
    slope = (secants.rise / length)[..., None] * way[:, :, None] * weight
    use = np.isfinite(mean).all(-1) & np.isfinite(slope).all(-1)
    mean, slope, way = mean[use], slope[use], way[np.isfinite(way).all(-1)]
    spread = way.T @ way / len(way) + _RIDGE * np.eye(way.shape[1])
    cross = mean.T @ slope @ np.linalg.inv(spread) / data.unit
    return 2 * cross - (mean**2).sum(0)[:, None]


def _pair(score: np.ndarray) -> np.ndarray:
    """For each column of a square matrix a row, each row once, by the largest entries."""
    order = np.full(len(score), -1)
    for i in np.argsort(-score, None):
        row, column = divmod(int(i), len(score))
        if order[column] < 0 and row not in order:
            order[column] = row
    return order
