"""The search for a learning rate and an alpha, on held-out episodes."""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import sobolev_tf as st
from train.distill import students
from train.distill.grids import Grid
from train.distill.students import METHODS, SHOWN, Study, Trial
from train.lib.run import files, identity, old_flags, progress, run_folder, schema
from train.lib.run.errors import CommandError, reading

NewStudent = Callable[[Study, Trial], st.PolicyDistiller]


def search_rate_and_alpha(
    new_student: NewStudent,
    study: Study,
    method: str,
    grid: Grid,
    split_steps: tuple[np.ndarray, np.ndarray] | None,
    run: run_folder.Run,
    bar: progress.Bar,
) -> tuple[float, float]:
    """Return the learning rate and the alpha of the lowest KL on held-out episodes.

    The rate is chosen at the middle alpha, then the alpha at that rate. Trials are kept in the run
    folder, so a search that was stopped resumes.

    Args:
      new_student: makes a student, compiled.
      study: what all students share.
      method: the method.
      grid: what to choose from.
      split_steps: steps to train on, and held-out steps; None if the grid leaves no choice.
      run: the open run folder.
      bar: counts the trials' steps, of which its total has those of all trials.

    Raises:
      CommandError: if every trial diverged.
    """
    if split_steps is None or not grid.num_trials:
        return grid.learning_rates[0], grid.alphas[0]
    train, held_out = split_steps
    steps = study.settings.search_steps
    cost = students.STEP_COST[method] * steps

    @functools.cache
    def kl(learning_rate, alpha):
        trial = Trial(method, learning_rate, alpha, steps, train, held_out)
        path = students.trial_path(run, trial)
        if path.exists():
            bar.leave_out(cost)
            return stored_kl(path, of_trial(trial) | {"study": run.id})
        name = f"{METHODS[method]}, learning_rate {learning_rate:g}, alpha {alpha:g}"
        print(f"\ntrial: {name}", flush=True)
        result = try_out(new_student, study, trial)
        files.write_json(path, {"kl": result, **of_trial(trial), "study": run.id})
        bar.add(cost, f"{name}: held-out kl {result:.4g}")
        return result

    middle = grid.alphas[len(grid.alphas) // 2]
    best_rate = min(grid.learning_rates, key=lambda rate: kl(rate, middle))
    best_alpha = min(grid.alphas, key=lambda alpha: kl(best_rate, alpha))
    if math.isinf(kl(best_rate, best_alpha)):
        raise CommandError(
            f"{METHODS[method]}: every trial diverged, down to the rate "
            f"{grid.learning_rates[0]:g}: give lower --learning_rates, in another --workdir"
        )
    _print_edges(method, "learning_rate", best_rate, grid.learning_rates)
    _print_edges(method, "alpha", best_alpha, grid.alphas)
    return best_rate, best_alpha


def of_trial(trial: Trial) -> dict[str, Any]:
    """Return what tells a trial from the others of a run."""
    return {name: getattr(trial, name) for name in ("method", "learning_rate", "alpha", "steps")}


def stored_kl(path: Path, stated: Mapping[str, Any]) -> float:
    """Return the KL of a trial that is kept in `path`. Raises DamagedError for another trial's."""
    with reading(path, "remove it, and run the command again"):
        stored = old_flags.rename(students.SCRIPT, files.read_json(path))
        schema.check(stored, {"kl": schema.OPTIONAL_NUMBER})
        identity.check(stored, stated)
    return math.inf if stored["kl"] is None else stored["kl"]


def try_out(new_student: NewStudent, study: Study, trial: Trial) -> float:
    """Train a student for a short time; return its KL on `trial.test`.

    The KL of a training that diverges is infinite.
    """
    model = new_student(study, trial)
    shown = progress.Progress(trial.steps, SHOWN, left="left of this trial")
    try:
        model.fit(
            study.stream(trial.train), steps_per_epoch=trial.steps, callbacks=[shown], verbose=0
        )
        kl = model.evaluate(study.test_batches(trial.test), verbose=0, return_dict=True)["kl"]
    except FloatingPointError:  # too high a rate
        kl = math.inf
    return kl if math.isfinite(kl) else math.inf


def _print_edges(method, name, best, values):
    if len(values) > 1 and best in (min(values), max(values)):
        print(f"\n{METHODS[method]}: {name} {best:g} is at the edge of --{name}s", flush=True)
