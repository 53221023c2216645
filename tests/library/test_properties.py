"""Any labels of any structure: the right number, or an error that says what was expected."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sobolev_tf import SobolevModel, jets
from sobolev_tf.model import labels

DIMS = st.lists(st.integers(1, 3), min_size=1, max_size=2)


def net_of(inputs, outputs):
    size = int(np.prod(outputs))
    return keras.Sequential(
        [
            keras.Input(inputs),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.Dense(size),
            keras.layers.Reshape(outputs),
        ]
    )


@settings(max_examples=15, deadline=None)
@given(data=st.data(), inputs=DIMS, outputs=DIMS, order=st.integers(0, 2))
def test_the_loss_is_equation_1_over_what_is_there(data, inputs, outputs, order):
    keras.utils.set_random_seed(data.draw(st.integers(0, 9)))
    model = SobolevModel(net_of(inputs, outputs), order=order)
    names = labels.names(order)
    weights = {name: data.draw(st.sampled_from([0.0, 0.5, 3.0])) for name in names}
    model.compile(loss_weights=weights, missing="nan", run_eagerly=True)

    batch = data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.normal(size=[batch, *inputs]).astype("float32")
    jet = jets.jet(model.net, tf.constant(x), order)
    present = data.draw(st.sets(st.sampled_from(names), min_size=1))
    sample_weight = rng.uniform(size=batch) if data.draw(st.booleans()) else None
    y, expected = {}, 0.0
    for j, (name, ours) in enumerate(zip(names, (jet.value, *jet.derivatives), strict=True)):
        label = rng.normal(size=ours.shape)
        label[rng.uniform(size=label.shape) < data.draw(st.sampled_from([0.0, 0.3, 1.0]))] = np.nan
        if name not in present:
            continue
        square = np.nan_to_num((ours - label) ** 2).sum(axis=tuple(range(1, label.ndim)))
        square = square if sample_weight is None else square * sample_weight
        expected += weights[name] * square.sum() / batch
        short = outputs == [1] and data.draw(st.booleans()) and (j or inputs)
        label = label.astype(data.draw(st.sampled_from(["float32", "float64"])))
        y[name] = label[:, 0] if short else label
    if data.draw(st.booleans()) and set(present) == set(names[: len(present)]):
        y = tuple(y[name] for name in names[: len(present)])
    batch = (x, y) if sample_weight is None else (x, y, sample_weight)
    loss, _ = model._step(tf.nest.map_structure(tf.constant, batch), training=False)
    assert float(loss) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@settings(max_examples=15, deadline=None)
@given(data=st.data(), inputs=DIMS, outputs=DIMS)
def test_a_wrong_shape_names_the_label_and_both_shapes(data, inputs, outputs):
    model = SobolevModel(net_of(inputs, outputs), order=1)
    model.compile(run_eagerly=True)
    shapes = {"value": outputs, "d1": [*outputs, *inputs]}
    name = data.draw(st.sampled_from(["value", "d1"]))
    right = shapes[name]
    wrong = data.draw(st.lists(st.integers(1, 4), max_size=4))
    accepted = [right] + [right[1:]] * (outputs == [1])
    y = {key: tf.zeros([2, *shape]) for key, shape in shapes.items()}
    y[name] = tf.zeros([2, *wrong])
    batch = tf.zeros([2, *inputs]), y
    if wrong in accepted:
        assert np.isfinite(float(model._step(batch, training=False)[0]))
        return
    with pytest.raises(ValueError, match=f"label {name} has shape") as error:
        model._step(batch, training=False)
    assert str([2, *wrong]) in str(error.value)
    assert f"[B, {', '.join(map(str, right))}]" in str(error.value)


@settings(max_examples=20, deadline=None)
@given(
    dtype=st.sampled_from(["float16", "float32", "float64", "int32", "bool"]),
    projection=st.sampled_from([None, "output", "input"]),
    rows=st.integers(0, 3),
)
def test_any_dtype_of_x_is_taken_or_refused_by_name(dtype, projection, rows):
    model = SobolevModel(net_of([2], [3]), projection=projection, seed=0)
    model.compile(run_eagerly=True)
    x = tf.cast(tf.ones([rows, 2]), dtype)
    batch = x, (tf.zeros([rows, 3]), tf.zeros([rows, 3, 2]))
    if not x.dtype.is_floating:
        with pytest.raises(ValueError, match=f"x holds {dtype}.*astype"):
            model._step(batch, training=False)
        return
    loss, _ = model._step(batch, training=False)
    assert np.isfinite(float(loss))
    assert rows or float(loss) == 0
