"""Other programs that learn from values and gradients, on the points of `train.regression`.

Each is a function (x [B,D], y [B,1], dy [B,D], domain, seed) -> predict, and predict(points) is
(value [B,1], gradient [B,D]); domain is (from, to) of every input in turn. Settings are those that
its own pages recommend. Each runs in a process of its own, without TensorFlow:
`python surrogates.py NAME LABELS.npz PREDICTED.npz`.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "DDE_BACKEND": "pytorch"}
STEPS = 50_000  # of the paper's recipe by hand


def jenn(x, y, dy, domain, seed):
    """JENN: tanh 24-24, Adam 0.01, normalized, 2,000 steps."""
    from jenn.core.model import NeuralNet

    net = NeuralNet([x.shape[1], 24, 24, 1])
    net.fit(x.T, y.T, dy.T[None], alpha=0.01, max_iter=2000, is_normalize=True, random_state=seed)

    def predict(points):
        value, gradient = net(points.T)
        return value.T, gradient[0].T

    return predict


def genn(x, y, dy, domain, seed):
    """SMT's GENN: the same net and steps, its own regularization."""
    from smt.surrogate_models import GENN

    model = GENN(
        hidden_layer_sizes=[24, 24],
        alpha=0.01,
        num_iterations=2000,
        is_normalize=True,
        seed=seed,
    )
    return _smt(model, x, y, dy)


def gekpls(x, y, dy, domain, seed):
    """SMT's GEKPLS: an extra point along every axis."""
    from smt.design_space import DesignSpace
    from smt.surrogate_models import GEKPLS

    space = DesignSpace(np.reshape(domain, [-1, 2]))
    model = GEKPLS(design_space=space, theta0=[1e-2] * 2, extra_points=2, print_global=False)
    _train_smt(model, x, y, dy)
    low, high = np.reshape(domain, [-1, 2]).T

    def predict(points):
        # Central differences: its own slopes take minutes, and equal these to four digits.
        slopes = [
            (model.predict_values(points + step) - model.predict_values(points - step))
            / (2 * step.sum())
            for step in 1e-3 * np.diag(high - low)
        ]
        return model.predict_values(points), np.concatenate(slopes, 1)

    return predict


def _train_smt(model, x, y, dy):
    model.set_training_values(x, y)
    for i in range(x.shape[1]):
        model.set_training_derivatives(x, dy[:, i : i + 1], i)
    model.train()


def _smt(model, x, y, dy):
    _train_smt(model, x, y, dy)

    def predict(points):
        slopes = [model.predict_derivatives(points, i) for i in range(x.shape[1])]
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
    from by_hand import torch_training

    advance, jet = torch_training(x, y, dy, seed=seed, threads=1)
    advance(STEPS)
    return jet


def jax(x, y, dy, domain, seed):
    """JAX by hand: the paper's recipe in one jitted scan."""
    import jax
    from by_hand import jax_training

    state, advance, jet = jax_training(x, y, dy, steps=STEPS, seed=seed)
    state = jax.block_until_ready(advance(state))

    def predict(points):
        value, gradient = jet(state, points)
        return np.array(value)[:, None], np.array(gradient)

    return predict


def gradient_gp(x, y, dy, domain, seed):
    """A Gaussian process with gradients by hand: see `gradient_gp.fit`."""
    from gradient_gp import fit

    return fit(x, y, dy)


PEERS: dict[str, tuple[str, Callable]] = {  # name: (module it needs, how it learns)
    "JENN": ("jenn", jenn),
    "SMT GENN": ("smt", genn),
    "SMT GEKPLS": ("smt", gekpls),
    "gradient GP by hand": ("jax", gradient_gp),
    "DeepXDE": ("deepxde", deepxde),
    "PyTorch by hand, paper's recipe": ("torch", torch),
    "JAX by hand, paper's recipe": ("jax", jax),
}


def installed() -> Iterator[str]:
    """Yield the names of the peers that are installed; one line on stderr names each other."""
    for name, (module, _) in PEERS.items():
        if importlib.util.find_spec(module):
            yield name
        else:
            print(
                f'{name}: skipped, {module} is not installed (pip install -e ".[bench]")',
                file=sys.stderr,
            )


def predictions(
    name: str, points: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Train a peer in a process of its own, and predict at the test points.

    Args:
      name: a key of `PEERS`.
      points: x, y, dy, domain, test and seed.

    Returns:
      Values [B,1], gradients [B,D] and processor seconds of training; None if the peer failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        labels, predicted = Path(folder, "labels.npz"), Path(folder, "predicted.npz")
        np.savez(labels, **points)
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
        ended = subprocess.run(
            [sys.executable, __file__, name, str(labels), str(predicted)],
            env=os.environ | threads | SETTINGS,
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            reasons = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
            print(f"{name}: failed, {reasons[-1]}", file=sys.stderr)
            return None
        with np.load(predicted) as file:
            return file["value"], file["gradient"], float(file["seconds"])


def main(name: str, labels: str, predicted: str) -> None:
    """Train one peer on the arrays of a file, and write its predictions to another."""
    warnings.simplefilter("ignore")
    with np.load(labels) as file:
        points = {key: file[key] for key in file.files}
    module, learn = PEERS[name]
    importlib.import_module(module)  # not part of its time
    began = time.process_time()
    predict = learn(
        points["x"], points["y"], points["dy"], points["domain"].tolist(), int(points["seed"])
    )
    seconds = time.process_time() - began
    value, gradient = predict(points["test"])
    np.savez(predicted, value=value, gradient=gradient, seconds=seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
