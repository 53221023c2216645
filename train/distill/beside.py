"""Results of finished runs in the same folder: values only, and the best constant policy."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from train.distill.students import SCRIPT
from train.lib.run import files, identity, metrics_csv, old_flags, run_folder, schema
from train.lib.run.errors import UsageError, reading

MEASURES = ("test_kl", "test_action_error")
# Flags that decide which steps train and test, and how far a policy is from the teacher.
SPLIT = ("game", "train_boundary", "test_percent", "num_test_stacks", "divergence")
# And those that affect training on values only, except the learning rate, which is in the row.
TRAINING = (*SPLIT, "seed", "steps", "batch_size", "schedule")

NET: dict[str, schema.Kind] = {  # of summary.json
    "method": str,
    "train_percent": schema.NUMBER,
    "learning_rate": schema.NUMBER,
    "alpha": schema.NUMBER,
}
BASELINE: dict[str, schema.Kind] = {
    "train_percent": schema.NUMBER,
    "test_kl": schema.NUMBER,
    "test_action_error": schema.NUMBER,
}

Rows = list[dict[str, Any]]


def read_rows(folder: Path) -> Rows:
    """Return the rows of a run's metrics.csv; those of older runs under today's names."""
    numbers = ["train_percent", "step", *MEASURES]
    return metrics_csv.read_rows(folder / "metrics.csv", numbers, ["method"], script=SCRIPT)


def values_only(folder: Path, shares: Sequence[float]) -> tuple[Rows, str]:
    """Return rows of values only at `shares`, and the name of the run that they are from.

    Training on values only was the same in that run. No rows if there is no such run.
    """
    flags, recording, rates = _facts(folder)
    for other in _beside(folder):
        same_flags, same_recording, their_rates = _facts(other)
        if recording != same_recording or _differ(flags, same_flags, TRAINING):
            continue
        usable = [
            share
            for share in shares
            if rates.get((share, "sobolev")) == their_rates.get((share, "values"), -1)
        ]
        rows = [
            row
            for row in read_rows(other)
            if row["method"] == "values" and row["train_percent"] in usable
        ]
        if rows:
            return rows, other.name
    return [], ""


def choices(folder: Path) -> tuple[dict[str, Any], list[float], list[float]]:
    """Return a run's flags, the rates of its nets, and Sobolev's alphas."""
    flags, _, _ = _facts(folder)
    nets = _nets(folder)
    rates = sorted({net["learning_rate"] for net in nets})
    return flags, rates, sorted({net["alpha"] for net in nets if net["method"] == "sobolev"})


def constant_policies(folder: Path) -> dict[float, dict[str, float]]:
    """Return {share: the measures of its best constant policy}, of this run or those beside it."""
    flags, recording, _ = _facts(folder)
    shares: dict[float, dict[str, float]] = {}
    for other in [*_beside(folder), folder]:
        their_flags, their_recording, _ = _facts(other)
        if recording == their_recording and not _differ(flags, their_flags, SPLIT):
            shares |= _baselines(other)
    return shares


def _beside(folder: Path) -> Iterator[Path]:
    """Yield the other finished distillations in the folder that holds this one."""
    for path in sorted(folder.absolute().parent.glob("*/summary.json")):
        try:
            config = run_folder.read_config(path.parent / "config.json")
            if config["script"] == "distill" and path.parent.name != folder.absolute().name:
                for read in (_facts, _baselines, read_rows):
                    read(path.parent)
                yield path.parent
        except UsageError:  # not a run, or a damaged one
            continue


def _facts(folder: Path) -> tuple[dict[str, Any], Any, dict[tuple[float, str], float]]:
    """Return a run's flags, its recording, and {(share, method): rate}."""
    config = run_folder.read_config(folder / "config.json")
    flags = old_flags.complete("distill", config["flags"])
    recording = config.get("facts", {}).get("recording", folder.absolute())
    rates = {(net["train_percent"], net["method"]): net["learning_rate"] for net in _nets(folder)}
    return flags, recording, rates


def _nets(folder: Path) -> Rows:
    """Return the summaries of a run's nets, under today's names."""
    return _part(folder, "nets", NET)


def _baselines(folder: Path) -> dict[float, dict[str, float]]:
    """Return {share: measures} of the constant policies in a run's summary."""
    rows = _part(folder, "baselines", BASELINE) or _part(folder, "floors", BASELINE)
    return {row["train_percent"]: {name: row[name] for name in MEASURES} for row in rows}


def _part(folder: Path, name: str, kinds: Mapping[str, schema.Kind]) -> Rows:
    """Return a list of dicts in a run's summary.json; empty if it has none."""
    path = folder / "summary.json"
    config = run_folder.read_config(folder / "config.json")
    with reading(path, "run its command again"):
        summary = files.read_json(path)
        identity.check(summary, run_folder.of_run(config))
        rows = [old_flags.rename(SCRIPT, row) for row in summary.get(name, [])]
        for row in rows:
            schema.check(row, kinds)
    return rows


def _differ(a: Mapping[str, Any], b: Mapping[str, Any], names: Sequence[str]) -> bool:
    return any(a.get(name) != b.get(name) for name in names)
