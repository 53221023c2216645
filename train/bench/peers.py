"""Loops of others, where they are installed: a step by hand in JAX and PyTorch, and A2C."""

import importlib.util
import itertools
import os
import sys

import numpy as np

MAKERS = {}
THREADS = os.cpu_count()
BY_HAND = ("JAX, jitted scan", "PyTorch, eager")
A2C_STEPS = 16 * 5  # games and their steps between two updates


def loops(names, inner):
    """Makers of n -> n calls of `inner` steps, by name; a peer that is missing is said.

    Each peer has a process of its own: TensorFlow and PyTorch bring the same compiler, and it
    may be loaded once in a process.
    """
    from train.bench.served import Served  # here: as a file, this one needs no TensorFlow

    found = {}
    for name in names:
        module, _ = MAKERS[name]
        if importlib.util.find_spec(module):
            found[name] = lambda name=name: Served(__file__, name, str(inner))
        else:
            print(
                f'{name}: skipped, {module} is not installed (pip install -e ".[bench]")',
                file=sys.stderr,
            )
    return found


def _points():
    """Styblinski-Tang's table of `benchmark`, in NumPy: a peer's process needs no TensorFlow."""
    x = np.random.default_rng(0).uniform(-5, 5, [100, 2]).astype("float32")
    return x, 0.5 * (x**4 - 16 * x**2 + 5 * x).sum(1, keepdims=True), 2 * x**3 - 16 * x + 2.5


def _jax(inner):
    """Adam and the loss in a jitted scan of `inner` steps over a batch that stays on the device."""
    import jax
    import jax.numpy as jnp

    x, y, dy = map(jnp.asarray, _points())

    def net(weights, x):
        for w, b in weights[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = weights[-1]
        return (x @ w + b)[0]

    def loss(weights):
        value, gradient = jax.vmap(jax.value_and_grad(net, argnums=1), (None, 0))(weights, x)
        square = (value - y[:, 0]) ** 2 + jnp.sum((gradient - dy) ** 2, 1)
        return jnp.mean(square)

    def step(state, _):
        weights, m, v, t = state
        gradients, t = jax.grad(loss)(weights), t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, gradients)
        rate = 3e-5 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, m, v)
        return (weights, m, v, t), None

    steps = jax.jit(lambda state: jax.lax.scan(step, state, length=inner)[0])
    rng, sizes = np.random.default_rng(0), [2, 256, 256, 1]
    weights = [
        (jnp.asarray(rng.normal(size=(a, b)) * a**-0.5, jnp.float32), jnp.zeros(b))
        for a, b in itertools.pairwise(sizes)
    ]
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = [(weights, zeros, zeros, jnp.float32(0))]

    def run(n):
        for _ in range(n):
            state[0] = steps(state[0])
        jax.block_until_ready(state[0])

    return run


def _torch(inner):
    """The eager loop of a tutorial, with create_graph for the gradient's own gradient."""
    import torch

    torch.set_num_threads(THREADS)
    x, y, dy = map(torch.tensor, _points())
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 256),
        torch.nn.ReLU(),
        torch.nn.Linear(256, 256),
        torch.nn.ReLU(),
        torch.nn.Linear(256, 1),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-5)

    def run(n):
        for _ in range(n * inner):
            point = x.clone().requires_grad_()
            value = net(point)
            (gradient,) = torch.autograd.grad(value.sum(), point, create_graph=True)
            loss = ((value - y) ** 2).sum(1).mean() + ((gradient - dy) ** 2).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def _a2c(inner):
    """Stable-Baselines3's A2C on Breakout, `inner` updates of `A2C_STEPS` agent steps a call."""
    import ale_py
    import gymnasium
    import torch
    from stable_baselines3 import A2C
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    torch.set_num_threads(THREADS)
    gymnasium.register_envs(ale_py)
    games = VecFrameStack(make_atari_env("BreakoutNoFrameskip-v4", n_envs=16), 4)
    model = A2C("CnnPolicy", games)

    def run(n):
        model.learn(n * inner * A2C_STEPS, reset_num_timesteps=False)

    return run


MAKERS |= {
    **dict(zip(BY_HAND, [("jax", _jax), ("torch", _torch)], strict=True)),
    "Stable-Baselines3, A2C": ("stable_baselines3", _a2c),
}


def main(name, inner):
    """What `Served` talks to: a number of calls on each line of stdin, the same back when done."""
    run = MAKERS[name][1](int(inner))
    for line in sys.stdin:
        run(int(line))
        print(int(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
