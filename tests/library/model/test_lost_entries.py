"""Partly missing labels under projections: nothing that is known is lost silently."""

import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import Projection, SobolevModel, nets
from sobolev_tf.model.lost_entries import refuse_lost

NAN = np.nan


def refused(projection, **named):
    with pytest.raises(ValueError, match="partly missing") as error:
        refuse_lost("fit", named, projection, 1)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def passes(projection, **named):
    refuse_lost("fit", named, projection, 1)


INPUT = Projection("input")
WHOLE = np.ones([2, 2, 3])
COLUMN = np.array(WHOLE)
COLUMN[1, :, 2] = NAN  # unknown to both outputs
DIFFER = np.array(WHOLE)
DIFFER[1, 0, 2] = NAN  # unknown to one of them


def test_outputs_that_know_different_components():
    assert "d1 is partly missing, first in row 1; " in refused(INPUT, d1=DIFFER)
    passes(INPUT, d1=WHOLE)
    passes(INPUT, d1=COLUMN)
    # An output of which nothing is known has nothing to lose.
    none = np.array(WHOLE)
    none[1, 0] = NAN
    passes(INPUT, d1=none)
    passes(INPUT, d1=WHOLE * NAN)
    passes(INPUT, d1=np.array([[1.0, NAN, 2.0]]))  # one output, without its axis


def hessian(known):
    return np.where(known, 1.0, NAN)[None, None]


@pytest.mark.parametrize("contraction", ["distinct", "same", "first"])
def test_hessians_that_are_known_in_part(contraction):
    projection = Projection("input", contraction=contraction)
    block = np.outer([1, 1, 0], [1, 1, 0]).astype(bool)
    if contraction != "first":
        assert "all pairs of the known components" in refused(projection, d2=hessian(np.eye(3)))
    passes(projection, d2=hessian(block))
    passes(projection, d2=hessian(np.ones([3, 3])))
    part = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    refused(projection, d2=hessian(part))


def test_a_hessian_times_a_direction_of_a_diagonal():
    # H v in component i needs row i of H within the known components: each has one entry only.
    refused(Projection("input", contraction="first"), d2=hessian(np.eye(3)))
    rows = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
    passes(Projection("input", contraction="first"), d2=hessian(rows))


def test_every_order_is_looked_at():
    tenth = np.full([1, 1, *[2] * 10], np.nan)
    tenth[(0, 0, *[0] * 10)] = tenth[(0, 0, *[1] * 10)] = 1
    refused(INPUT, d10=tenth)


def test_labels_of_another_shape_are_left_to_the_step():
    passes(INPUT, d1=np.full([4], NAN), d2=np.full([4, 3, 2], NAN))


def test_a_hessian_beside_slopes_of_fewer_components():
    d1 = np.array([[[1.0, 2.0, NAN]]])
    assert "label d2" in refused(INPUT, d1=d1, d2=hessian(np.ones([3, 3])))
    passes(INPUT, d1=d1, d2=hessian(np.outer([1, 1, 0], [1, 1, 0])))


def test_projections_of_outputs_need_all_of_them():
    output = Projection("output")
    assert "give all outputs" in refused(output, d1=DIFFER)
    passes(output, d1=COLUMN)


@pytest.mark.parametrize("kind", ["arrays", "data set"])
def test_fit_refuses_them(kind):
    x = np.random.default_rng(0).normal(size=[8, 3]).astype("float32")
    d1 = np.ones([8, 2, 3], "float32")
    model = SobolevModel(nets.mlp(3, 2, hidden=[4], activation="tanh"), projection="input")
    model.compile("sgd", missing="nan")
    d1[:, :, 1] = NAN
    d1[5, 0, 2] = NAN
    passed = (x, {"d1": d1})
    if kind == "data set":
        passed = (tf.data.Dataset.from_tensor_slices(passed).batch(2),)
    with pytest.raises(ValueError, match=r"fit: label d1 is partly missing, first in row 5"):
        model.fit(*passed, verbose=0)
    d1[5, 0, 2] = 1
    assert np.isfinite(model.fit(x, {"d1": d1}, verbose=0).history["loss"][0])
