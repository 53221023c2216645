"""How nets are built and trained by each method, and how their errors are measured."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.keras_support import directories
from train.forces import clusters, nets
from train.lib.run import cells, identity

METHOD_NAMES = {  # as people read them
    "values": "values only",
    "sobolev": "Sobolev",
    "half": "Sobolev, half of the forces missing",
}
MEASURES = ("energy_rmse", "force_rmse", "seconds")  # meV, meV/Å
BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 20, 3e-3, 0.5
MILLI = 1000


@dataclasses.dataclass(frozen=True)
class Task:
    """One net to train, as plain data: any process can do it."""

    system: str
    method: str
    seed: int
    num_configurations: int
    steps: int
    hidden: int

    @property
    def key(self) -> dict[str, Any]:
        """What tells this net from the other nets of a run."""
        return {name: getattr(self, name) for name in ("system", "method", "seed")}


def labels(data: clusters.Configurations, method: str, seed: int) -> dict[str, np.ndarray]:
    """Return the labels of a method: energies, and gradients where it has forces.

    NaN is a gradient that is missing: that of padding, and of half of the configurations.
    """
    if method == "values":
        return {"value": data.energies}
    gradients = data.gradients.copy()
    if method == "half":
        order = np.random.default_rng(seed).permutation(len(gradients))
        gradients[order[: len(order) // 2]] = np.nan
    return {"value": data.energies, "d1": gradients}


def reference_energies(data: clusters.Configurations) -> np.ndarray:
    """Fit one energy for each species [2] to energies [B,1], by least squares, in eV."""
    fitted, *_ = np.linalg.lstsq(data.counts.astype("float64"), data.energies, rcond=None)
    return fitted[:, 0]


def train(data: clusters.Configurations, task: Task) -> st.SobolevModel:
    """Train a net on what energies differ by from the species' own; return one of energies."""
    keras.utils.set_random_seed(task.seed)
    references = reference_energies(data)
    y = labels(data, task.method, task.seed)
    y["value"] = (y["value"] - data.counts @ references[:, None]).astype("float32")
    net = nets.atomic_energies(data.inputs, task.hidden)
    model = st.SobolevModel(net, wrt="positions")
    model.adapt(data.inputs, y, scale_x=False)  # the net's cutoff is in Å
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, task.steps)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)
    model.compile(optimizer, missing="nan", mean_over="present")
    model.fit(
        data.inputs,
        y,
        batch_size=min(BATCH_SIZE, len(data.energies)),
        steps_per_epoch=task.steps,
        verbose=0,
    )
    return with_references(model, references)


def with_references(model: st.SobolevModel, references: np.ndarray) -> st.SobolevModel:
    """Return a model of whole energies: what `model` predicts, and the species' energies."""
    inputs = model.net.input
    of_species = nets.ReferenceEnergy(references)(inputs["species"])
    energy = keras.layers.Add()([model(inputs), of_species])
    return st.SobolevModel(keras.Model(inputs, energy), wrt="positions")


def predictions(
    model: st.SobolevModel, data: clusters.Configurations
) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted energies [B,1] and forces [B,N,3], in eV and eV/Å."""
    jet = model.predict_jet(data.inputs, batch_size=100)
    return jet.value, -jet.derivatives[0][:, 0]


def rmse(predicted: np.ndarray, true: np.ndarray) -> float:
    """Return the root mean square error over what is not NaN, in thousandths of the unit."""
    return float(MILLI * np.sqrt(np.nanmean((predicted - true) ** 2)))


def train_and_save(folder: Path, task: Task) -> str:
    """Train the net of a task; write what it predicts, its errors and its SavedModel.

    Returns:
      A line of progress for people.
    """
    began = time.perf_counter()
    data = clusters.load(folder, task.system, task.num_configurations, clusters.TRAIN_SEED)
    test = clusters.load(folder, task.system, clusters.NUM_TEST, clusters.TEST_SEED)
    model = train(data, task)
    seconds = time.perf_counter() - began
    energies, forces = predictions(model, test)
    scores = [rmse(energies, test.energies), rmse(forces, test.forces), seconds]
    path = saved_model(folder, **task.key)
    directories.remove_leftovers(path)
    model.export(str(path))
    arrays = {"energies": energies, "forces": forces, "scores": np.array(scores)}
    identity.write_npz(net_path(folder, **task.key), arrays, with_model(folder, task))
    name = f"{clusters.SYSTEM_NAMES[task.system]}, {METHOD_NAMES[task.method]}"
    return f"{name}: {scores[0]:.0f} meV, {scores[1]:.0f} meV/Å"


def net_path(folder: Path, system: str, method: str, seed: int) -> Path:
    """Return the path of what a net predicts on the test configurations."""
    return folder / "nets" / f"{system}-{method}-{seed}.npz"


def saved_model(folder: Path, system: str, method: str, seed: int) -> Path:
    """Return the directory of a net's SavedModel."""
    return folder / "nets" / f"{system}-{method}-{seed}"


def with_model(folder: Path, task: Task) -> dict[str, Any]:
    """Return the fields of a task, and a digest of its SavedModel: what a net's file is of."""
    there = saved_model(folder, **task.key)
    return dataclasses.asdict(task) | {"saved_model": identity.digest(there)}


def read_net(
    folder: Path, system: str, method: str, seed: int, **recipe: Any
) -> dict[str, np.ndarray]:
    """Return energies, forces and scores of a net's file.

    Args:
      folder: folder of the run.
      system: what the net has learned.
      method: the net's method.
      seed: seed of its weights.
      recipe: more that its file may state, of `with_model`.

    Raises:
      DamagedError: it is missing, cut short, of another net, or holds something else.
    """
    key: dict[str, Any] = {"system": system, "method": method, "seed": seed}
    most = max(map(sum, clusters.SYSTEMS[system]))
    count = clusters.NUM_TEST
    shapes = {"energies": [count, 1], "forces": [count, most, 3], "scores": [len(MEASURES)]}
    path = net_path(folder, **key)
    return cells.read_arrays(path, key | recipe, shapes)


def is_done(folder: Path, task: Task) -> bool:
    """Return whether a net's files are there and whole; one that is damaged is trained again."""
    if not saved_model(folder, **task.key).exists():
        return False
    path = net_path(folder, **task.key)
    return cells.is_whole(path, lambda: read_net(folder, **with_model(folder, task)))


def metrics_row(folder: Path, task: Task) -> dict[str, Any]:
    """Return a finished task's row of metrics.csv."""
    scores = read_net(folder, **dataclasses.asdict(task))["scores"].tolist()
    return task.key | dict(zip(MEASURES, scores, strict=True))


def load_model(folder: Path, task: Task) -> Any:
    """Return the jet signature of a net's SavedModel."""
    return tf.saved_model.load(saved_model(folder, **task.key)).signatures["jet"]
