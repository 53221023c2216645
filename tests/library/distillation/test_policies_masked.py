"""Teachers that mask actions with logits of minus infinity: 0 log 0 is 0."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import PolicyDistiller
from sobolev_tf.distillation import kl, log_policy

STATES = np.random.default_rng(0).normal(size=[8, 4]).astype("float32")
LOGITS = np.random.default_rng(1).normal(size=[8, 3]).astype("float32")
LOGITS[::2, 1] = -np.inf


def distiller(divergence="teacher_student"):
    student = keras.Sequential([keras.Input([4]), keras.layers.Dense(3)])
    model = PolicyDistiller(student, alpha=0.0, divergence=divergence)
    model.compile(keras.optimizers.SGD(0.1))
    return model


def test_the_divergence_by_hand_and_its_gradient():
    p, logits = tf.constant([[0.25, 0.0, 0.75]]), tf.Variable([[0.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        value = kl(tf.math.log(p), log_policy(logits))
    expected = 0.25 * np.log(0.25 * 3) + 0.75 * np.log(0.75 * 3)
    assert float(value[0]) == pytest.approx(expected, rel=1e-6)
    gradient = tape.gradient(value, logits)
    np.testing.assert_allclose(gradient, [[1 / 3 - 0.25, 1 / 3, 1 / 3 - 0.75]], rtol=1e-5)


def test_masked_actions_have_a_finite_loss():
    model = distiller()
    log_q = model.predict(STATES, verbose=0).astype("float64")
    p = np.exp(LOGITS.astype("float64"))
    p /= p.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(p > 0, p * (np.log(p) - log_q), 0).sum(1).mean()
    logs = model.evaluate(STATES, LOGITS, verbose=0, return_dict=True)
    assert logs["kl"] == pytest.approx(expected, rel=1e-5)
    losses = model.fit(STATES, LOGITS, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_what_no_policy_has_is_refused():
    for value, message in ((np.nan, "NaN"), (np.inf, "infinity")):
        wrong = LOGITS.copy()
        wrong[5, 0] = value
        with pytest.raises(ValueError, match=f"label value has {message}, first in row 5"):
            distiller().fit(STATES, wrong, verbose=0)
    wrong = LOGITS.copy()
    wrong[6] = -np.inf
    with pytest.raises(ValueError, match="masks every action in row 6"):
        distiller().fit(STATES, wrong, verbose=0)


def test_the_divergence_that_is_infinite_is_named():
    with pytest.raises(FloatingPointError, match='use divergence="teacher_student"'):
        distiller("student_teacher").fit(STATES, LOGITS, verbose=0)


@pytest.mark.parametrize("shapes", [([4, 3], [3]), ([4, 3], [1, 3]), ([4, 3], [4, 1])])
def test_policies_of_shapes_that_broadcast_are_refused(shapes):
    with pytest.raises(ValueError, match=r"kl: log_p has shape \[4, 3\]"):
        kl(*map(tf.zeros, shapes))
