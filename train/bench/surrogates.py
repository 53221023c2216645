"""Other programs that learn from values and gradients, on the points of section 4.1's script.

Each is a function (x [B,2], y [B,1], dy [B,2], domain, seed) -> predict, and predict(points) is
(value [B,1], gradient [B,2]). Settings are those that its own pages recommend. Each runs in a
process of its own, without TensorFlow: `python surrogates.py NAME POINTS.npz ANSWER.npz`.
"""

import importlib
import importlib.util
import itertools
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

SETTINGS = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "DDE_BACKEND": "pytorch"}
STEPS = 50_000  # of the paper's recipe by hand


def jenn(x, y, dy, domain, seed):
    """JENN: tanh 24-24, Adam 0.01, normalised, 2,000 steps."""
    from jenn.core.model import NeuralNet

    net = NeuralNet([2, 24, 24, 1])
    settings = {"alpha": 0.01, "max_iter": 2000, "is_normalize": True, "random_state": seed}
    net.fit(x.T, y.T, dy.T[None], **settings)

    def predict(points):
        value, gradient = net(points.T)
        return value.T, gradient[0].T

    return predict


def genn(x, y, dy, domain, seed):
    """SMT's GENN: the same net and steps, its own regularisation."""
    from smt.surrogate_models import GENN

    model = GENN(
        **{"hidden_layer_sizes": [24, 24], "alpha": 0.01, "num_iterations": 2000},
        **{"is_normalize": True, "seed": seed},
    )
    return _smt(model, x, y, dy)


def gekpls(x, y, dy, domain, seed):
    """SMT's GEKPLS: an extra point along every axis."""
    from smt.design_space import DesignSpace
    from smt.surrogate_models import GEKPLS

    space = DesignSpace(np.reshape(domain, [2, 2]))
    model = GEKPLS(design_space=space, theta0=[1e-2] * 2, extra_points=2, print_global=False)
    return _smt(model, x, y, dy)


def _smt(model, x, y, dy):
    model.set_training_values(x, y)
    for i in range(2):
        model.set_training_derivatives(x, dy[:, i : i + 1], i)
    model.train()

    def predict(points):
        slopes = [model.predict_derivatives(points, i) for i in range(2)]
        return model.predict_values(points), np.concatenate(slopes, 1)

    return predict


def deepxde(x, y, dy, domain, seed):
    """DeepXDE: tanh 3x50, Adam 1e-3, 10,000 steps, a condition for every partial derivative."""
    import deepxde as dde

    def slope(i):
        return lambda x, y: dde.grad.jacobian(y, x, i=0, j=i)

    def at_points(operator):
        return lambda x, y, _: operator(x, y)

    dde.config.set_random_seed(seed)
    space = dde.geometry.Rectangle(domain[::2], domain[1::2])
    terms = [dde.icbc.PointSetBC(x, y)]
    for i in range(2):
        terms.append(dde.icbc.PointSetOperatorBC(x, dy[:, i : i + 1], at_points(slope(i))))
    net = dde.nn.FNN([2] + [50] * 3 + [1], "tanh", "Glorot normal")
    model = dde.Model(dde.data.PDE(space, lambda x, y: [], terms), net)
    model.compile("adam", lr=1e-3, verbose=0)
    model.train(iterations=10_000, display_every=10_000, verbose=0)

    def predict(points):
        slopes = [model.predict(points, operator=slope(i)) for i in range(2)]
        return model.predict(points), np.concatenate(slopes, 1)

    return predict


def torch(x, y, dy, domain, seed):
    """PyTorch by hand: the paper's recipe in an eager loop."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    x, y, dy = (torch.tensor(each, dtype=torch.float32) for each in (x, y, dy))
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 256),
        torch.nn.ReLU(),
        torch.nn.Linear(256, 256),
        torch.nn.ReLU(),
        torch.nn.Linear(256, 1),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-5)

    def jet(x, train):
        x = x.clone().requires_grad_()
        value = net(x)
        return value, torch.autograd.grad(value.sum(), x, create_graph=train)[0]

    for _ in range(STEPS):
        value, gradient = jet(x, True)
        loss = ((value - y) ** 2).sum(1).mean() + ((gradient - dy) ** 2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def predict(points):
        answer = jet(torch.tensor(points, dtype=torch.float32), False)
        return tuple(each.detach().numpy() for each in answer)

    return predict


def jax(x, y, dy, domain, seed):
    """JAX by hand: the paper's recipe in one jitted scan."""
    import jax
    import jax.numpy as jnp

    x, y, dy = (jnp.asarray(each, jnp.float32) for each in (x, y, dy))

    def net(weights, x):
        for w, b in weights[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = weights[-1]
        return (x @ w + b)[0]

    def loss(weights):
        value, gradient = jet(weights, x)
        return jnp.mean((value - y[:, 0]) ** 2 + jnp.sum((gradient - dy) ** 2, 1))

    def step(state, t):
        weights, m, v = state
        gradients = jax.grad(loss)(weights)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, gradients)
        rate = 3e-5 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, m, v)
        return (weights, m, v), None

    jet = jax.vmap(jax.value_and_grad(net, argnums=1), (None, 0))
    rng, sizes = np.random.default_rng(seed), [2, 256, 256, 1]
    weights = [
        (jnp.asarray(rng.normal(size=(a, b)) * a**-0.5, jnp.float32), jnp.zeros(b))
        for a, b in itertools.pairwise(sizes)
    ]
    zeros = jax.tree.map(jnp.zeros_like, weights)
    times = jnp.arange(1, STEPS + 1, dtype=jnp.float32)
    scan = jax.jit(lambda state: jax.lax.scan(step, state, times)[0])
    weights = jax.block_until_ready(scan((weights, zeros, zeros))[0])

    def predict(points):
        value, gradient = jet(weights, jnp.asarray(points, jnp.float32))
        return np.array(value)[:, None], np.array(gradient)

    return predict


PEERS = {
    "JENN": ("jenn", jenn),
    "SMT GENN": ("smt", genn),
    "SMT GEKPLS": ("smt", gekpls),
    "DeepXDE": ("deepxde", deepxde),
    "PyTorch by hand, paper's recipe": ("torch", torch),
    "JAX by hand, paper's recipe": ("jax", jax),
}


def installed():
    """The names of the peers that are here; one that is missing is said."""
    for name, (module, _) in PEERS.items():
        if importlib.util.find_spec(module):
            yield name
        else:
            print(
                f'{name}: skipped, {module} is not installed (pip install -e ".[bench]")',
                file=sys.stderr,
            )


def answer(name, points):
    """(value [B,1], gradient [B,2], seconds) of a peer in a process of its own; None if it failed.

    points: dict of x, y, dy, domain, test and seed.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, answered = Path(folder, "given.npz"), Path(folder, "answer.npz")
        np.savez(given, **points)
        threads = {f"{each}_NUM_THREADS": "1" for each in ("OMP", "MKL", "OPENBLAS")}
        ended = subprocess.run(
            [sys.executable, __file__, name, given, answered],
            env=os.environ | threads | SETTINGS,
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            said = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
            print(f"{name}: failed, {said[-1]}", file=sys.stderr)
            return None
        with np.load(answered) as file:
            return file["value"], file["gradient"], float(file["seconds"])


def main(name, given, answered):
    warnings.simplefilter("ignore")
    with np.load(given) as file:
        points = {key: file[key] for key in file.files}
    points |= {"domain": points["domain"].tolist(), "seed": int(points["seed"])}
    module, learn = PEERS[name]
    importlib.import_module(module)  # not part of its time
    test = points.pop("test")
    began = time.perf_counter()
    predict = learn(**points)
    seconds = time.perf_counter() - began
    value, gradient = predict(test)
    np.savez(answered, value=value, gradient=gradient, seconds=seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
