"""The same training loop by hand in JAX and PyTorch, where they are installed."""

import importlib.util
import itertools
import os
import subprocess
import sys

import numpy as np

MAKERS = {}
THREADS = os.cpu_count()


def loops(inner):
    """Makers of n -> n calls of `inner` steps, by name; a peer that is missing is said.

    Each peer has a process of its own: TensorFlow and PyTorch bring the same compiler, and it
    may be loaded once in a process.
    """
    found = {}
    for name, (module, _) in MAKERS.items():
        if importlib.util.find_spec(module):
            found[name] = lambda name=name: _Process(name, inner)
        else:
            print(
                f'{name}: skipped, {module} is not installed (pip install -e ".[bench]")',
                file=sys.stderr,
            )
    return found


class _Process:
    """n -> n calls in another process; it holds still in between."""

    def __init__(self, name, inner):
        command = [sys.executable, __file__, name, str(inner)]  # as a file: no TensorFlow
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        self(1)

    def __call__(self, n):
        print(n, file=self.process.stdin, flush=True)
        if self.process.stdout.readline().strip() != "done":
            raise RuntimeError(f"{self.process.args} ended: run it by hand, and type a number")

    def __del__(self):
        self.process.stdin.close()  # ends its loop


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


MAKERS |= {"JAX, jitted scan": ("jax", _jax), "PyTorch, eager": ("torch", _torch)}


def main(name, inner):
    """Serves a peer's loop: a number of calls on each line of stdin, "done" for each on stdout."""
    run = MAKERS[name][1](int(inner))
    for line in sys.stdin:
        run(int(line))
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
