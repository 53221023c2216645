"""Models saved before modules and attributes got their present names load, answer and train."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import sobolev_tf as st
from sobolev_tf.projections import Projection

SAVED = Path(__file__).parent.parent / "fixtures" / "before"
ANSWERS = json.loads((SAVED / "answers.json").read_text())
X = np.array(ANSWERS["x"], "float32")


def load(name):
    return keras.models.load_model(SAVED / f"{name}.keras")


def assert_answers(predicted, name):
    np.testing.assert_allclose(predicted, ANSWERS[name], rtol=0, atol=1e-6)


def assert_trains_on(model, x, y):
    """Train one step further, from the optimizer's state in the file."""
    state = [variable.numpy() for variable in model.optimizer.variables]
    assert state[0] == model.optimizer.iterations > 0
    assert model.optimizer.built
    if moments := state[2:]:
        assert all(np.any(moment) for moment in moments)
    before = [variable.numpy() for variable in model.trainable_variables]
    history = model.fit(x, y, batch_size=len(x), verbose=0).history
    assert np.isfinite(history["loss"][0])
    assert model.optimizer.iterations == state[0] + 1
    after = [variable.numpy() for variable in model.trainable_variables]
    assert any(np.any(a != b) for a, b in zip(before, after, strict=True))


def test_a_sobolev_model():
    model = load("sobolev_model")
    assert type(model) is st.SobolevModel
    jet = model.predict_jet(X)
    assert_answers(model.predict(X, verbose=0), "sobolev_value")
    assert_answers(jet.value, "sobolev_value")
    assert_answers(jet.derivatives[0], "sobolev_d1")
    assert model.projection == Projection(
        "input", count=2, contraction="first", orthogonal=True, seed=5
    )
    compiled = model.get_compile_config()
    assert (compiled["missing"], compiled["jet_metrics"]) == ("nan", ["rmse"])
    assert np.any(model.scaling.mean)  # what `adapt` learned
    assert_trains_on(model, X, (np.ones([3, 1], "f"), np.ones([3, 1, 2], "f")))


def test_a_policy_distiller_with_its_teacher():
    model = load("policy_distiller")
    assert type(model) is st.PolicyDistiller
    assert_answers(model.predict(X, verbose=0), "policy")
    teacher = [weight.numpy() for weight in model.target.weights]
    assert_trains_on(model, X, None)
    for before, after in zip(teacher, model.target.weights, strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_decoupled_model_with_its_critics():
    model = load("decoupled_model")
    assert type(model) is st.DecoupledModel
    assert_answers(model.predict(X, verbose=0), "decoupled")
    assert len(model.critics) == 2
    assert model.critic_optimizer.built
    critics = [variable.numpy() for variable in model.critic_variables]
    moments = [variable.numpy() for variable in model.critic_optimizer.variables[2:]]
    assert any(np.any(moment) for moment in moments)
    assert_trains_on(model, X, np.array([0, 1, 2]))
    after = [variable.numpy() for variable in model.critic_variables]
    assert any(np.any(a != b) for a, b in zip(critics, after, strict=True))


def test_a_net_with_a_synthetic_gradient_in_it():
    net = load("synthetic_gradient")
    [layer] = [layer for layer in net.layers if isinstance(layer, st.SyntheticGradient)]
    assert all(np.any(weight) for weight in layer.critic.get_weights()[::2])
    h, y = (np.ones(tensor.shape[1:], "float32")[None] for tensor in net.inputs)
    assert layer.jet(h, y).derivatives[0].shape == h.shape


@pytest.mark.parametrize("name", ["sobolev_model", "policy_distiller", "decoupled_model"])
def test_what_was_loaded_is_saved_again_as_it_is(name, tmp_path):
    model = load(name)
    model.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    for ours, theirs in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
