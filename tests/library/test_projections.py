"""projections: directions on the sphere, and function and labels seen along the same ones."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sobolev_tf import jets, projections
from sobolev_tf.jets import contractions
from sobolev_tf.projections import Projection


@settings(max_examples=10, deadline=None)
@given(
    batch=st.integers(0, 4),
    dims=st.lists(st.integers(1, 4), max_size=3),
    count=st.integers(1, 3),
    dtype=st.sampled_from([tf.float16, tf.float32, tf.float64]),
    radius=st.floats(0.5, 3),
)
def test_directions_lie_on_the_sphere(batch, dims, count, dtype, radius):
    v = projections.sphere(tf.zeros([batch, *dims], dtype), count, (1, 2), radius)
    assert v.shape == (batch, count, *dims)
    assert v.dtype == dtype
    lengths = np.sqrt(np.sum(np.square(v, dtype="float64"), axis=tuple(range(2, v.ndim))))
    np.testing.assert_allclose(lengths, radius, rtol=3e-3)


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_xla_draws_the_same_directions(dtype, orthogonal):
    like = tf.zeros([4, 3, 2], dtype)
    drawn = projections.sphere(like, 5, (1, 2), orthogonal=orthogonal)
    by_xla = tf.function(projections.sphere, jit_compile=True)(
        like, 5, (1, 2), orthogonal=orthogonal
    )
    np.testing.assert_allclose(by_xla, drawn, rtol=1e-4, atol=1e-5)


def test_projected_squares_have_the_full_squares_expectation():
    e = tf.constant([[1.0, -2.0, 3.0]])
    v = projections.sphere(tf.zeros([1, 3]), 40_000, (0, 0), radius=3**0.5)
    assert np.mean(contractions.contract_outputs(e[..., None], v).numpy() ** 2) == pytest.approx(
        14, rel=0.02
    )
    hessian = tf.constant([[[[1.0, 2.0, 0.0], [2.0, -1.0, 3.0], [0.0, 3.0, 0.5]]]])
    w = projections.sphere(tf.zeros([1, 3]), 40_000, (0, 1), radius=3**0.5)
    square = np.mean(contractions.contract_inputs(hessian, [v, w]).numpy() ** 2)
    assert square == pytest.approx(np.sum(hessian.numpy() ** 2), rel=0.03)


def test_orthogonal_directions_are_orthonormal_and_have_no_favourite_side():
    v = projections.sphere(tf.zeros([2000, 2, 2]), 3, (1, 2), orthogonal=True).numpy()
    flat = v.reshape(2000, 3, 4)
    np.testing.assert_allclose(
        flat @ flat.transpose(0, 2, 1), np.broadcast_to(np.eye(3), [2000, 3, 3]), atol=1e-5
    )
    np.testing.assert_allclose(flat.mean(0), 0, atol=0.05)
    second = np.einsum("bpi,bpj->pij", flat, flat) / 2000
    np.testing.assert_allclose(second, np.broadcast_to(np.eye(4) / 4, [3, 4, 4]), atol=0.03)
    with pytest.raises(ValueError, match="at most 4"):
        projections.sphere(tf.zeros([1, 4]), 5, (1, 2), orthogonal=True)


def curved(x):
    """[B,3] -> [B,2]."""
    return tf.stack([x[:, 0] ** 2 * x[:, 1], tf.sin(x[:, 2]) * x[:, 0]], 1)


@pytest.mark.parametrize("side", ["output", "input"])
@pytest.mark.parametrize("contraction", projections.CONTRACTIONS)
def test_labels_are_seen_along_the_function_s_directions(side, contraction):
    x = tf.constant(np.random.default_rng(0).normal(size=[4, 3]))
    full = jets.jet(curved, x, 2)
    kind = Projection(side, 2, contraction, seed=3).sample(5)
    seen = kind.jet(curved, x, 2)
    for j, label in enumerate((full.value, *full.derivatives)):
        ours = kind.label(label, j, x, full.value)
        theirs = (seen.value, *seen.derivatives)[j]
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    later = Projection(side, 2, contraction, seed=3).sample(6).jet(curved, x, 1)
    assert abs(later.derivatives[0] - seen.derivatives[0]).numpy().max() > 1e-3


def test_the_same_direction_twice_has_the_expectation_that_the_docstring_says():
    h = np.array([[1.0, 2.0, 0.0], [2.0, -1.0, 3.0], [0.0, 3.0, 0.5]], "float32")
    x = tf.zeros([1, 3])
    kind = Projection("input", 40_000, "same", seed=1).sample(0)
    square = np.mean(kind.label(tf.constant(h[None, None]), 2, x, tf.zeros([1, 1])).numpy() ** 2)
    n = 3
    expected = (2 * np.sum(h**2) + np.trace(h) ** 2) / (n * (n + 2))
    assert square == pytest.approx(expected, rel=0.03)


def test_wrong_settings_are_named():
    for wrong, message in (
        ({"side": "both"}, "side is 'output' or 'input', got 'both'"),
        ({"side": "input", "count": 0}, "Projection: count is a whole number of at least 1"),
        (
            {"side": "input", "contraction": "all"},
            "contraction is 'distinct', 'same' or 'first', got 'all'",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            Projection(**wrong)
