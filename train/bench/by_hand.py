"""The paper's recipe by hand, in JAX and in PyTorch: 2x256 ReLU, Adam at 3e-5, one batch.

The files beside this one import it where they run as programs of their own, without TensorFlow.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

LEARNING_RATE = 3e-5
SIZES = [2, 256, 256, 1]


def jax_training(
    x: np.ndarray, y: np.ndarray, dy: np.ndarray, steps: int, seed: int
) -> tuple[Any, Callable, Callable]:
    """Train in one jitted scan over a batch that stays on the device.

    Args:
      x: points [B,2].
      y: values [B,1].
      dy: gradients [B,2].
      steps: steps of one call of `advance`.
      seed: seed of the initial weights.

    Returns:
      The initial state, `advance(state)` -> the state after `steps` steps (it may
      return before they end: `jax.block_until_ready`), and
      `jet(state, points)` -> values [B] and gradients [B,2].
    """
    import jax
    import jax.numpy as jnp

    x, y, dy = (jnp.asarray(array, jnp.float32) for array in (x, y, dy))

    def net(weights, x):
        for w, b in weights[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = weights[-1]
        return (x @ w + b)[0]

    values_and_gradients = jax.vmap(jax.value_and_grad(net, argnums=1), (None, 0))

    def loss(weights):
        value, gradient = values_and_gradients(weights, x)
        return jnp.mean((value - y[:, 0]) ** 2 + jnp.sum((gradient - dy) ** 2, 1))

    def step(state, _):
        weights, m, v, t = state
        gradients, t = jax.grad(loss)(weights), t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, gradients)
        rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, m, v)
        return (weights, m, v, t), None

    rng = np.random.default_rng(seed)
    weights = [
        (jnp.asarray(rng.normal(size=(a, b)) * a**-0.5, jnp.float32), jnp.zeros(b))
        for a, b in itertools.pairwise(SIZES)
    ]
    zeros = jax.tree.map(jnp.zeros_like, weights)
    advance = jax.jit(lambda state: jax.lax.scan(step, state, length=steps)[0])
    return (
        (weights, zeros, zeros, jnp.float32(0)),
        advance,
        lambda state, points: values_and_gradients(state[0], jnp.asarray(points, jnp.float32)),
    )


def torch_training(
    x: np.ndarray, y: np.ndarray, dy: np.ndarray, seed: int, threads: int
) -> tuple[Callable, Callable]:
    """Train in the eager loop of a tutorial, with create_graph for the gradient's own gradient.

    Args:
      x: points [B,2].
      y: values [B,1].
      dy: gradients [B,2].
      seed: seed of the initial weights.
      threads: CPU threads of PyTorch.

    Returns:
      `advance(steps)`, and `jet(points)` -> values [B,1] and gradients [B,2].
    """
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    x, y, dy = (torch.tensor(array, dtype=torch.float32) for array in (x, y, dy))
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(SIZES):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)

    def values_and_gradients(points, train):
        points = points.clone().requires_grad_()
        value = net(points)
        return value, torch.autograd.grad(value.sum(), points, create_graph=train)[0]

    def advance(steps):
        for _ in range(steps):
            value, gradient = values_and_gradients(x, train=True)
            loss = ((value - y) ** 2).sum(1).mean() + ((gradient - dy) ** 2).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def jet(points):
        points = torch.tensor(points, dtype=torch.float32)
        value, gradient = values_and_gradients(points, train=False)
        return value.detach().numpy(), gradient.detach().numpy()

    return advance, jet
