"""How a net is made and trained, by preset, and what is measured of it.

`modern` is what the library recommends for small data; it was chosen on other functions than the
seven (BUILD_NOTES.md, section 3). `paper` is section 4.1's; steps and batch size are not given
there.
"""

import dataclasses
import hashlib
import re
import time
import zipfile

import keras
import numpy as np

import sobolev_tf as st
from train.lib.run import files
from train.regression import functions

PRESETS = {
    "modern": {"hidden": ["64", "64"], "steps": 100},
    "paper": {"hidden": ["256", "256"], "steps": 50_000, "batch_size": 100},
}
METHODS = {"values": 1, "sobolev": 2}  # how many labels each learns from: y, or y and dy
TEST_POINTS, TEST_SEED = 10_000, 10**9
PART = 200  # points; see `modern`
SIDE = 41  # of the grid that figures are drawn from


@dataclasses.dataclass(frozen=True)
class Task:
    """One net to train, as plain data: any process can do it."""

    function: str
    domain: tuple | None
    size: int
    method: str
    seed: int
    preset: str
    hidden: tuple
    steps: int
    batch_size: int | None

    @property
    def key(self):
        """What tells it from the other nets of a run."""
        return {name: getattr(self, name) for name in ("function", "size", "method", "seed")}


def run(folder, task):
    """Trains the net of a task and writes its file: errors, and its jet on a grid for figures."""
    began = time.perf_counter()
    function = functions.resolve(task.function, task.domain)
    model = train(function, task)
    seconds = time.perf_counter() - began
    value, gradient = errors(model, test_table(function))
    jet = model.predict_jet(functions.grid(function.domain, SIDE), batch_size=SIDE**2)
    with files.replacing(path(folder, **task.key)) as file:
        np.savez(
            file,
            value=np.reshape(jet.value, [SIDE, SIDE]).astype("f4"),
            gradient=np.reshape(jet.derivatives[0], [SIDE, SIDE, 2]).astype("f4"),
            scores=[value, gradient, seconds],
        )
    return f"{task.function}, {task.size} points, {task.method}: test MSE {value:.3g}"


def path(folder, function, size, method, seed):
    """Of a net's file."""
    return folder / "nets" / f"{plain(function)}-{size}-{method}-{seed}.npz"


def plain(name):
    """A function's name as part of a file's."""
    letters = re.sub(r"\W+", "_", name)
    if letters == name and len(name) <= 40:
        return name
    return f"{letters[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def done(folder, task):
    """Whether a net's file is there, up to its end."""
    file = path(folder, **task.key)
    return file.exists() and zipfile.is_zipfile(file)


def row(folder, task):
    """A finished task's row of metrics.csv."""
    with np.load(path(folder, **task.key)) as file:
        scores = file["scores"].tolist()
    return task.key | dict(zip(("test_mse", "gradient_mse", "seconds"), scores, strict=True))


def effort(task):
    """Roughly proportional to the time that a task takes."""
    return 1 + 9 * (task.size > PART) if task.preset == "modern" else 1


def train(function, task):
    """The trained model of a task."""
    keras.utils.set_random_seed(task.seed)
    table = functions.table(function, task.size, task.seed, task.size)
    labels = table.labels[: METHODS[task.method]]
    if task.preset == "modern":
        return modern(table.x, labels, task.hidden, task.steps)
    return paper(table.x, labels, task.hidden, task.steps, task.batch_size)


def paper(x, labels, hidden, steps, batch_size):
    """Section 4.1: ReLU, Adam at 3e-5, the plain sum of squared norms."""
    model = st.SobolevModel(st.nets.mlp(2, hidden=hidden))
    model.compile(keras.optimizers.Adam(3e-5), steps_per_execution=min(100, steps))
    table = st.targets.Table(*(each.astype("float32") for each in (x, *labels)))
    model.fit(table.dataset(min(batch_size, len(x))), steps_per_epoch=steps, verbose=0)
    return model


def modern(x, labels, hidden, steps):
    """SiLU in float64, between z-scores, every component's error over its size, by Gauss-Newton.

    Its regularisation is by evidence: none where the net resolves the function, much where waves
    between the points are noise to it. Of large data a random part, the first rows, leads most of
    the way; L-BFGS goes on with all.
    """
    model = st.SobolevModel(st.nets.mlp(2, hidden=hidden, activation="silu", dtype="float64"))
    model.compile(component_weights="rms")
    model.adapt(x, labels)
    part = [each[:PART] for each in (x, *labels)]
    more = max(len(part[0]) // 100, 1)  # more points are harder to go through
    st.fit_least_squares(
        model, part[0], part[1:], iterations=more * steps, regularization="evidence"
    )
    if len(x) > PART:
        st.fit_lbfgs(model, x, labels, iterations=steps)
    return model


def test_table(function):
    """The same 10,000 points for every net of a function."""
    return functions.table(function, TEST_POINTS, TEST_SEED)


def errors(model, table):
    """Mean squared error of the value, and of the gradient (its squared norm), over a table."""
    jet = model.predict_jet(table.x, batch_size=2048)
    value, gradient = (
        np.mean(np.sum(np.reshape(got - true, [len(true), -1]) ** 2, 1))
        for got, true in zip((jet.value, *jet.derivatives), table.labels, strict=False)
    )
    return float(value), float(gradient)
