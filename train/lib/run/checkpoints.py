"""Checkpoints: all the state of a training run in one file that is whole or not there.

A checkpoint is an .npz of the variables, by group, number and path, plus `checkpoint.json`
(format, step, metric values, ...). Every variable is listed by the model itself, so that none
is left out quietly and another net is noticed, and nothing is ever unpickled. (Of a Keras 3
model, tf.train.Checkpoint leaves out the seed generators and the metrics.)
"""

import contextlib
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from train.lib.run import files
from train.lib.run.errors import CommandError, UsageError

FORMAT = 1
DAMAGED = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
State = dict[str, np.ndarray]


class NonFinite(CommandError):
    """The weights hold NaN or infinity; such a state is never saved."""


class Checkpoints:
    """A folder with the last checkpoints and the best one.

    Args:
      folder: it is made by the first `save`.
      keep: how many of the last checkpoints stay.
      monitor: name of the log to judge by; None keeps no best one.
      mode: "max" if the best is the highest, "min" if it is the lowest.

    Example:
        checkpoints = Checkpoints("runs/first/checkpoints", monitor="val_accuracy", mode="max")
        checkpoints.save(model, step=500, logs={"val_accuracy": 0.5})
        checkpoints.restore_latest(model)
        # {'format': 1, 'step': 500, 'logs': {'val_accuracy': 0.5}}
    """

    def __init__(self, folder: Path, keep: int = 3, monitor: str | None = None, mode: str = "max"):
        self.folder = Path(folder)
        self.keep, self.monitor, self.sign = keep, monitor, {"max": 1, "min": -1}[mode]
        files.remove_leftovers(self.folder)

    def paths(self) -> list[Path]:
        """Return the checkpoints from oldest to newest."""
        return sorted(self.folder.glob("step-*.npz"))

    def best(self) -> Path | None:
        """Return the path of the checkpoint with the best monitored value, or None."""
        return best(self.paths(), self.monitor, self.sign)

    def save(self, model: keras.Model, step: int, **facts: Any) -> None:
        """Write the state of `model` at `step`, then remove what is neither recent nor best.

        Args:
          model: the model.
          step: how many steps it has taken.
          facts: what to store with it, such as `logs`.

        Raises:
          NonFinite: naming the variable, before anything is written.
        """
        facts = {"format": FORMAT, "step": step, **facts}
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.folder / f"step-{step:010d}.npz", capture(model), facts)
        kept = {*self.paths()[-self.keep :], self.best()}
        for path in set(self.paths()) - kept:
            path.unlink()

    def restore_latest(self, model: keras.Model) -> dict[str, Any] | None:
        """Put the newest readable state into `model` and return its facts, or None.

        A damaged file is renamed, with a line on stderr, and the one before it is restored.

        Raises:
          UsageError: if the checkpoint is of another net.
        """
        for path in reversed(self.paths()):
            try:
                state, facts = read(path)
            except DAMAGED as error:
                aside = path.rename(path.with_suffix(".damaged"))
                print(f"{path} is damaged ({error}): renamed to {aside.name}", file=sys.stderr)
                continue
            assign(model, state, path)
            return facts
        return None


def best(paths: Iterable[Path], monitor: str | None, sign: int = 1) -> Path | None:
    """Return the path whose logs have the highest `monitor`, times `sign`, or None."""
    scores: dict[Path, float] = {}
    for path in paths:
        with contextlib.suppress(*DAMAGED):  # Without the value, or damaged.
            scores[path] = sign * read_facts(path)["logs"][monitor]
    finite = [path for path, score in scores.items() if np.isfinite(score)]
    return max(finite, key=scores.__getitem__, default=None)


def groups(model: keras.Model) -> dict[str, list[keras.Variable]]:
    """Return the variables that make up the state: {"model": [...], "optimizer": [...], ...}.

    Model variables include BatchNormalization's statistics and the states of seed generators.
    Optimizers are the model's attributes, `critic_optimizer` as well as `optimizer`.
    """
    own = {"model": model.variables, "metrics": model.metrics_variables}
    return own | {name: optimizer.variables for name, optimizer in optimizers(model).items()}


def optimizers(model: keras.Model) -> dict[str, keras.optimizers.Optimizer]:
    """Return the optimizers among the attributes of `model`, by name."""
    attributes = sorted(vars(model).items())
    return {k: v for k, v in attributes if isinstance(v, keras.optimizers.Optimizer)}


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return {"model/0003/dense/kernel": variable}, the same names in every process.

    Keras numbers its layers by how many the process has made; the number is left out.
    """
    return {
        f"{group}/{i:04d}/{re.sub(r'_[0-9]+(?=[_/]|$)', '', variable.path)}": variable
        for group, variables in groups(model).items()
        for i, variable in enumerate(variables)
    }


def copies(variable: keras.Variable) -> tuple[tf.Variable, ...]:
    """Return the tf.Variables behind a Keras variable: one, or one for each replica."""
    return getattr(variable.value, "values", (variable.value,))


def capture(model: keras.Model) -> State:
    """Return a copy of the state, {name: array}.

    The replicas of MirroredStrategy do not hold the same BatchNormalization statistics nor
    metrics: "NAME@1" is the second replica's array, where it differs from the first one's.

    Raises:
      NonFinite: if a weight is not finite.
    """
    state: State = {}
    for name, variable in named_variables(model).items():
        for i, copy in enumerate(copies(variable)):
            array = np.array(copy.numpy())
            if i == 0:
                state[name] = array
            elif not np.array_equal(array, state[name]):
                state[f"{name}@{i}"] = array
            if not name.startswith("metrics/") and not finite(array):
                raise NonFinite(
                    f"{variable.path} is no longer finite and was not saved; the last "
                    "checkpoint is from before; try a lower learning rate in another --workdir"
                )
    return state


def finite(array: np.ndarray) -> bool:
    """Return whether an array, of floats or not, is free of NaN and infinity."""
    return not np.issubdtype(array.dtype, np.floating) or bool(np.isfinite(array).all())


def assign(model: keras.Model, state: State, source: Path) -> None:
    """Put `state` into the variables of `model`.

    Args:
      model: the model; all of its variables exist.
      state: what `capture` has returned.
      source: the file that it comes from, for the error.

    Raises:
      UsageError: before any variable changes, if names, shapes or types differ.
    """
    variables = named_variables(model)
    here = {name: f"{v.dtype} {list(v.shape)}" for name, v in variables.items()}
    there = {name: f"{a.dtype} {list(a.shape)}" for name, a in state.items() if "@" not in name}
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise UsageError(
                f"{source} is of another net: {name} is {there.get(name, 'missing')} there, "
                f"{here.get(name, 'missing')} here; choose another --workdir"
            )
    for name, variable in variables.items():
        for i, copy in enumerate(copies(variable)):
            copy.assign(state.get(f"{name}@{i}", state[name]))


def write(path: Path, state: State, facts: Mapping[str, Any]) -> None:
    """Write a checkpoint file, atomically."""
    with files.replacing(path) as file:
        np.savez(file, allow_pickle=False, **state)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("checkpoint.json", json.dumps(facts))


def read(path: Path) -> tuple[State, dict[str, Any]]:
    """Return (state, facts). The zip format checksums every array.

    Raises:
      Exception: one of DAMAGED.
      UsageError: for a file of another format.
    """
    facts = read_facts(path)
    if facts["format"] != FORMAT:
        raise UsageError(f"{path} has format {facts['format']}, this version reads {FORMAT}")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name != "checkpoint.json"}, facts


def read_facts(path: Path) -> dict[str, Any]:
    """Return the `checkpoint.json` of a checkpoint file."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("checkpoint.json"))
