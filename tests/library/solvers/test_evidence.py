"""consistent_rho: by hand, and against the search for the most probable labels."""

import numpy as np
import pytest

from sobolev_tf.solvers.evidence import consistent_rho, most_probable_rho
from sobolev_tf.solvers.linear import LinearProblem


def test_two_labels_of_one_weight_by_hand():
    # γ = 1/(1 + ρ) and M - γ = (1 + 2ρ)/(1 + ρ), so that ρ (1 + 2ρ) = ‖r‖²/‖w - w₀‖².
    assert consistent_rho(np.ones(1), 2, 3.0, 1.0) == pytest.approx(1)
    assert consistent_rho(np.ones(1), 2, 21.0, 2.1) == pytest.approx(2)


@pytest.mark.parametrize("weights", [4, 60])
def test_it_is_the_most_probable_one_at_the_minimum(weights):
    rng = np.random.default_rng(0)
    jacobian = rng.normal(size=[30, weights]) * 0.8 ** np.arange(weights)
    y = jacobian @ rng.normal(size=weights) + rng.normal(size=30)
    moved, rho = np.zeros(weights), 1.0
    for _ in range(5):
        rho = most_probable_rho(LinearProblem(jacobian @ moved - y, jacobian), moved, rho)
        normal = jacobian.T @ jacobian + rho * np.eye(weights)
        moved = np.linalg.solve(normal, jacobian.T @ y)
    misfit = np.sum((jacobian @ moved - y) ** 2)
    singular = np.linalg.svd(jacobian, compute_uv=False)
    assert consistent_rho(singular, 30, misfit, moved @ moved) == pytest.approx(rho, rel=0.02)


def test_exact_labels_leave_the_least():
    singular = np.array([2.0, 1.0])
    assert 0 < consistent_rho(singular, 2, 0.0, 1.0) < 1e-30
    assert consistent_rho(singular, 2, 1e-20, 1.0) < 1e-9
