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
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from train.lib.run import files, identity, schema, workers
from train.lib.run.errors import CommandError, DamagedError, UsageError, reading

FORMAT = 1
FACTS = "checkpoint.json"
IS_PASSED_OVER = "it is passed over"  # what is done about a damaged checkpoint
REQUIRED: dict[str, schema.Kind] = {"format": int, "step": int}
OPTIONAL: dict[str, schema.Kind] = {
    "logs": dict,
    "train_logs": dict,
    "epoch_ended": bool,
    "evaluated": bool,
    "evaluations": list,
    "seconds": schema.NUMBER,
    "run": str,
}
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
      run: `Run.id`: every checkpoint states it, and that of another run is refused.
      before_save: called before anything is written, such as `Run.refuse_if_removed`.

    Example:
        checkpoints = Checkpoints("runs/first/checkpoints", monitor="val_accuracy", mode="max")
        checkpoints.save(model, step=500, logs={"val_accuracy": 0.5})
        checkpoints.restore_latest(model)
        # {'format': 1, 'step': 500, 'logs': {'val_accuracy': 0.5}}
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 3,
        monitor: str | None = None,
        mode: str = "max",
        run: str | None = None,
        before_save: Callable[[], None] = lambda: None,
    ):
        self.stated = {} if run is None else {"run": run}
        self.folder, self.before_save = Path(folder), before_save
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

        Of several workers all must call it, and the chief writes.

        Args:
          model: the model.
          step: how many steps it has taken.
          facts: what to store with it, such as `logs`.

        Raises:
          NonFinite: naming the variable, before anything is written.
        """
        facts = {"format": FORMAT, "step": step, **self.stated, **facts}
        state = capture(model)
        if not workers.is_chief(model.distribute_strategy):
            return
        self.before_save()
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.folder / f"{stem(step)}.npz", state, facts)
        kept = {*self.paths()[-self.keep :], self.best()}
        for path in set(self.paths()) - kept:
            path.unlink()

    def restore_latest(
        self,
        model: keras.Model,
        total: float = np.inf,
        needs: Mapping[str, schema.Kind] | None = None,
    ) -> dict[str, Any] | None:
        """Put the newest readable state into `model` and return its facts, or None.

        A damaged file is renamed, with a line on stderr, and the one before it is restored, if
        there is one.

        Args:
          model: the model.
          total: steps of the whole run.
          needs: {fact that a checkpoint must have: its type}.

        Raises:
          UsageError: if the checkpoint is of another net or run, or of a step outside the run.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                state, facts = read(path, needs)
            except DamagedError as error:
                aside = path.rename(path.with_suffix(".damaged"))
                print(f"{error}: renamed to {aside.name}", file=sys.stderr)
                continue
            if path.stem != stem(facts["step"]) or facts["step"] > total:
                raise UsageError(
                    f"{path} says that it is of step {facts['step']} of {total}: it is damaged; "
                    "remove it, and the same command resumes from the one before"
                )
            with reading(path, "remove it, or choose another --workdir", "is not of this run"):
                identity.check(facts, self.stated)
            assign(model, state, path)
            return facts
        if paths:
            print(f"{self.folder}: no checkpoint can be read: starts at step 0", file=sys.stderr)
        return None


def stem(step: int) -> str:
    """Return the name of a step's checkpoint, without .npz."""
    return f"step-{step:010d}"


def best(paths: Iterable[Path], monitor: str | None, sign: int = 1) -> Path | None:
    """Return the path whose logs have the highest `monitor`, times `sign`, or None."""
    scores: dict[Path, float] = {}
    for path in paths:
        try:
            value = read_facts(path).get("logs", {}).get(monitor)
        except UsageError:  # damaged, or of another format
            continue
        if isinstance(value, int | float):
            scores[path] = sign * value
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
    """Return the tf.Variables behind a Keras variable: one, or one for each replica here."""
    return getattr(variable.value, "values", (variable.value,))


def capture(model: keras.Model) -> State:
    """Return a copy of the state, {name: array}.

    Replicas do not hold the same BatchNormalization statistics nor metrics: "NAME@1" is the second
    replica's array, over all workers, where it differs from the first one's.

    Raises:
      NonFinite: if a weight is not finite.
    """
    state: State = {}
    variables = named_variables(model)
    here = {name: [np.array(c.numpy()) for c in copies(v)] for name, v in variables.items()}
    for name, arrays in workers.everywhere(model.distribute_strategy, here).items():
        for i, array in enumerate(arrays):
            if i == 0:
                state[name] = array
            elif not np.array_equal(array, state[name]):
                state[f"{name}@{i}"] = array
            if not name.startswith("metrics/") and not finite(array):
                raise NonFinite(
                    f"{variables[name].path} is no longer finite and was not saved; the last "
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
    worker, _ = workers.place(model.distribute_strategy)
    for name, variable in variables.items():
        local = copies(variable)
        for i, copy in enumerate(local, worker * len(local)):
            copy.assign(state.get(f"{name}@{i}", state[name]))


def write(path: Path, state: State, facts: Mapping[str, Any]) -> None:
    """Write a checkpoint file, atomically."""
    with files.replacing(path) as file:
        files.write_npz(file, state, {FACTS: json.dumps(facts)})


def read(
    path: Path, needs: Mapping[str, schema.Kind] | None = None, remedy: str = IS_PASSED_OVER
) -> tuple[State, dict]:
    """Return (state, facts) of a checkpoint file, whose facts must have `needs`.

    Args:
      path: the file.
      needs: {fact that it must have: its type}.
      remedy: what to do about a damaged file, for the error.

    Raises:
      DamagedError: if it cannot be read, lacks a fact, or has weights that are not finite.
      UsageError: for a file of another format.
    """
    facts = read_facts(path, needs, remedy)
    with damaged(path, remedy):
        state = files.read_npz(path, leave_out=(FACTS,))
        for name, array in state.items():
            if not name.startswith("metrics/") and not finite(array):
                raise ValueError(f"{name} is not finite")
    return state, facts


def read_facts(
    path: Path, needs: Mapping[str, schema.Kind] | None = None, remedy: str = IS_PASSED_OVER
) -> dict[str, Any]:
    """Return the facts of a checkpoint file; takes and raises what `read` does."""
    with damaged(path, remedy):
        with files.open_file(path) as file, zipfile.ZipFile(file) as archive:
            facts = json.loads(archive.read(FACTS))
        if isinstance(facts, dict) and facts.get("format", FORMAT) != FORMAT:
            raise UsageError(f"{path} has format {facts['format']}, this version reads {FORMAT}")
        schema.check(facts, {**REQUIRED, **(needs or {})}, OPTIONAL)
        if facts["step"] < 0 or facts.get("seconds", 0) < 0:
            raise ValueError(f"step {facts['step']} or its seconds are below zero")
    return facts


def damaged(path: Path, remedy: str) -> contextlib.AbstractContextManager[None]:
    """Turn what is raised while a checkpoint is read into a DamagedError."""
    return reading(path, remedy, "is damaged")
