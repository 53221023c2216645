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
    np.testing.assert_allclose(projected[:, 0], expected, rtol=1e-4, atol=1e-6)


def test_where_all_is_known_nothing_changes():
    x = tf.constant(X[:4])
    kind = Projection("input", seed=3).sample(1)
    all_known = Projection("input", seed=3).sample(1).among(tf.ones([4, 3], bool))
    for one, other in zip(kind.jet(tf.sin, x, 1), all_known.jet(tf.sin, x, 1), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)
    assert isinstance(kind.jet(tf.sin, x, 1), jets.Jet)
