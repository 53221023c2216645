"""labels: any structure gives the same labels, or one line that says what is wrong."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sobolev_tf.model import label_shapes, labels, missing, objective


@settings(max_examples=30, deadline=None)
@given(order=st.integers(0, 11), data=st.data())
def test_tuples_and_dicts_in_any_order_are_the_same_labels(order, data):
    known = labels.names(order)
    shuffled = data.draw(st.permutations(known))
    absent = data.draw(st.sets(st.sampled_from(known)))
    by_position = labels.by_name([None if n in absent else n for n in known], order)
    by_key = labels.by_name({n: n for n in shuffled if n not in absent}, order)
    assert list(by_position) == list(by_key) == [n for n in known if n not in absent]
    assert all(labels.order_of(n) == j for j, n in enumerate(known))


def test_wrong_names_and_counts_name_themselves():
    with pytest.raises(ValueError, match="'d2': order=1 knows value, d1"):
        labels.by_name({"d2": 0}, 1)
    with pytest.raises(ValueError, match="3 entries, but order=1"):
        labels.by_name((0, 1, 2), 1)
    with pytest.raises(ValueError, match="loss has 1 entries, but order=1 takes 2"):
        objective.per_term(["mse"], 1, None, "loss")


def test_loss_weights_are_finite_numbers_or_none():
    for way in ([1.0, 2], (1, 2.0), np.array([1, 2]), {"d1": 2.0}):
        assert objective.weights_per_term(way, 1) == {"value": 1, "d1": 2, "jvp": 1, "vjp": 1}
    assert objective.weights_per_term({"d1": None}, 1)["d1"] is None
    assert objective.weights_per_term([1.0, len], 1)["d1"] is len  # a function of the step
    for wrong in (np.inf, [1.0, np.nan], "much", [1.0, "x"], [1, 2j], np.ones([2, 2])):
        with pytest.raises(ValueError, match=r"loss_weights has .* expected a finite number"):
            objective.weights_per_term(wrong, 1)


@settings(max_examples=20, deadline=None)
@given(
    label=st.lists(st.integers(1, 3), max_size=3),
    outputs=st.lists(st.integers(1, 3), max_size=1),
    inputs=st.lists(st.integers(1, 3), min_size=1, max_size=2),
)
def test_a_label_conforms_or_is_refused(label, outputs, inputs):
    expected = [None, *outputs, *inputs]
    allowed = [[*outputs, *inputs]] + ([inputs] if outputs == [1] else [])
    if label in allowed:
        fitted = label_shapes.fit_shape(np.zeros([2, *label]), expected, outputs, "d1")
        assert fitted.shape == (2, *outputs, *inputs)
    else:
        with pytest.raises(ValueError, match="label d1 has shape"):
            label_shapes.fit_shape(np.zeros([2, *label]), expected, outputs, "d1")


def test_missing_entries_have_no_error_and_no_gradient():
    prediction = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
    partial = tf.constant([[np.nan, 5.0], [np.nan, np.nan]])
    with tf.GradientTape() as tape:
        weights = tf.constant([[2.0], [2.0]])
        label, prediction, weight = missing.mask_missing(partial, prediction, weights)
        loss = tf.reduce_sum((label - prediction) ** 2)
    np.testing.assert_array_equal(tape.gradient(loss, prediction), [[0, -6], [0, 0]])
    np.testing.assert_array_equal(weight, [2, 0])
