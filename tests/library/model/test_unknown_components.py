"""projection="input" where components of derivatives are unknown: the others are learned from."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import Projection, SobolevModel, jets
from sobolev_tf.projections import known_components

X = np.random.default_rng(0).normal(size=[64, 3]).astype("float32")


def linear():
    return keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])


@pytest.mark.parametrize("contraction", ["distinct", "same", "first"])
def test_slopes_that_are_known_are_learned(contraction):
    dy = np.zeros([64, 1, 3], "float32")
    dy[:, 0, 0], dy[:, 0, 1], dy[:, 0, 2] = 3.0, -2.0, np.nan
    model = SobolevModel(linear(), projection="input", contraction=contraction, seed=0)
    model.compile(keras.optimizers.Adam(0.1), missing="nan")
    start = model.net.get_weights()[0][2].copy()
    model.fit(X, {"d1": dy}, steps_per_epoch=200, batch_size=32, verbose=0)
    slopes = model.net.get_weights()[0]
    np.testing.assert_allclose(slopes[:2, 0], [3, -2], atol=0.05)
    np.testing.assert_array_equal(slopes[2], start)


def test_each_row_has_unknown_components_of_its_own():
    dy = np.tile(np.float32([3.0, -2.0, 0.5]), [64, 1, 1])
    dy[np.arange(64), 0, np.arange(64) % 3] = np.nan
    model = SobolevModel(linear(), projection="input", projections=2, seed=0)
    model.compile(keras.optimizers.Adam(0.1), missing="nan")
    model.fit(X, {"d1": dy[:, 0]}, steps_per_epoch=300, batch_size=32, verbose=0)
    np.testing.assert_allclose(model.net.get_weights()[0][:, 0], [3, -2, 0.5], atol=0.05)


def test_labels_are_projected_along_the_known_part_of_the_directions():
    x, label = tf.constant(X[:4]), np.random.default_rng(1).normal(size=[4, 2, 3, 3])
    known = np.array([[True, True, False], [True] * 3, [False] * 3, [False, True, True]])
    full = np.where(known[:, None, :, None] & known[:, None, None, :], label, np.nan)
    full = tf.constant(full, tf.float32)
    np.testing.assert_array_equal(known_components(full, dims=1, j=2), known)
    kind = Projection("input", seed=3).sample(1)
    v = [kind.directions(x, j).numpy()[:, 0] * known for j in range(2)]
    expected = np.einsum("bkij,bi,bj->bk", label, *v)
    seen = Projection("input", seed=3).sample(1).among(tf.constant(known))
    seen.jet(lambda x: x[:, :2] ** 2, x, 2)
    projected = seen.label(full, 2, x, None)
    expected[2] = np.nan  # nothing is known there
    np.testing.assert_allclose(projected[:, 0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("order", "contraction"), [(1, "distinct"), (2, "first")])
def test_rows_without_a_derivative_do_not_count_as_perfect(order, contraction):
    """One of four rows has labels: the metrics are those of this row, the loss its quarter."""
    x, y = X[:4], np.zeros([4, 1], "f")
    labels = [np.full([4, 1, *[3] * j], 5.0, "f") for j in range(1, order + 1)]
    for label in labels:
        label[1:] = np.nan
    logs = []
    for rows in (1, 4):
        model = SobolevModel(
            linear(), order, projection="input", projections=2, contraction=contraction, seed=0
        )
        model.net.set_weights([np.ones([3, 1]), np.zeros(1)])
        settings = {"missing": "nan", "jet_metrics": ["rmse", "cosine"]}
        model.compile(keras.optimizers.SGD(0.1), **settings)
        taken = y[:rows], *(label[:rows] for label in labels)
        logs.append(model.evaluate(x[:rows], taken, verbose=0, return_dict=True))
    known, mixed = logs
    for j in range(1, order + 1):
        assert known[f"d{j}_rmse"] > 0.1
        assert mixed[f"d{j}_rmse"] == pytest.approx(known[f"d{j}_rmse"], rel=1e-5)
        assert mixed[f"d{j}_cosine"] == pytest.approx(known[f"d{j}_cosine"], rel=1e-5)
        assert mixed[f"d{j}_loss"] == pytest.approx(known[f"d{j}_loss"] / 4, rel=1e-5)
    before = model.net.get_weights()
    model.train_on_batch(x, taken)
    assert np.all(np.isfinite(model.net.get_weights()[0]))
    assert np.any(model.net.get_weights()[0] != before[0])


def test_where_all_is_known_nothing_changes():
    x = tf.constant(X[:4])
    kind = Projection("input", seed=3).sample(1)
    all_known = Projection("input", seed=3).sample(1).among(tf.ones([4, 3], bool))
    for one, other in zip(kind.jet(tf.sin, x, 1), all_known.jet(tf.sin, x, 1), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)
    assert isinstance(kind.jet(tf.sin, x, 1), jets.Jet)
