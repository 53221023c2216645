"""Runs of one script side by side: the flags that differ, and their headline numbers."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from train.lib.run import files, identity, metrics_csv, old_flags, run_folder, text_table
from train.lib.run.errors import UsageError
from train.lib.run.help_text import as_typed

# What a summary raises that is missing, no JSON, or of another shape.
UNREADABLE = (
    UsageError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
)
Headline = tuple[str, Any, str]  # name, value, unit


def text(folders: Sequence[Path]) -> str:
    """Return aligned text: a row for each run, a column for each flag that differs.

    Args:
      folders: two or more runs of one script.
    """
    flags = differing_flags([_flags(folder) for folder in folders])
    headlines = [headline(folder) for folder in folders]
    numbers = list(dict.fromkeys((name, unit) for name, _, unit in headlines if name))
    names = _short_names(folders)
    rows = []
    for k, (shown, (name, value, unit)) in enumerate(zip(names, headlines, strict=True)):
        cells = [values[k] for values in flags.values()]
        cells += [_number(value) if number == (name, unit) else "-" for number in numbers]
        rows.append([shown, *cells])
    columns = [", ".join(filter(None, number)) for number in numbers]
    return text_table.table(["run", *flags, *columns], rows)


def differing_flags(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return {name of a flag that differs: its value in each run, as typed}.

    >>> differing_flags([{"seed": 0, "steps": 5}, {"seed": 1, "steps": 5, "l2": 0.1}])
    {'l2': ['-', '0.1'], 'seed': ['0', '1']}
    """
    names = sorted(set().union(*runs))
    values = {name: [flags.get(name) for flags in runs] for name in names}
    typed = {
        name: ["-" if value is None else as_typed(value) for value in of_runs]
        for name, of_runs in values.items()
    }
    return {name: texts for name, texts in typed.items() if len(set(texts)) > 1}


def headline(folder: Path) -> Headline:
    """Return the name, value and unit of a run's headline number; name is "" without one.

    Summaries older than the common head have theirs by `HEADLINES_OF_OLD_RUNS`.
    """
    config = run_folder.read_config(folder / "config.json")
    script = config.get("script")
    try:
        summary = files.read_json(folder / "summary.json")
        identity.check(summary, run_folder.of_run(config))
        if "headline" in summary:
            head = summary["headline"]
            return head["name"], head["value"], head["unit"]
    except UNREADABLE:
        summary = {}
    try:
        return HEADLINES_OF_OLD_RUNS[script](folder, summary)
    except UNREADABLE:
        return "", None, ""


def _image_headline(folder: Path, summary: Mapping[str, Any]) -> Headline:
    return "val_accuracy", summary["top1"], "share"


def _regression_headline(folder: Path, summary: Mapping[str, Any]) -> Headline:
    counts = list(summary["sobolev_below_values"].values())
    cells = sum(functions for _, functions in counts)
    return "sobolev_lower", sum(lower for lower, _ in counts), f"of {cells} cells"


def _distill_headline(folder: Path, summary: Mapping[str, Any]) -> Headline:
    return "test_kl", min(net["test_kl"] for net in summary["nets"]), "nats"


def _record_headline(folder: Path, summary: Mapping[str, Any]) -> Headline:
    return "score", summary["mean_score"], "points"


def _teacher_headline(folder: Path, summary: Mapping[str, Any]) -> Headline:
    rows = metrics_csv.read_rows(folder / "metrics.csv", ["score"])
    return "score", max(row["score"] for row in rows), "points"


HEADLINES_OF_OLD_RUNS: dict[str | None, Callable[[Path, Mapping[str, Any]], Headline]] = {
    "cifar10": _image_headline,
    "imagenet": _image_headline,
    "regression": _regression_headline,
    "distill": _distill_headline,
    "record": _record_headline,
    "teacher": _teacher_headline,
}


def _flags(folder: Path) -> dict[str, Any]:
    config = run_folder.read_config(folder / "config.json")
    return old_flags.complete(config.get("script"), config["flags"])


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' names below the folder that holds them all."""
    absolute = [folder.absolute() for folder in folders]
    top = os.path.commonpath([folder.parent for folder in absolute])
    return [str(folder.relative_to(top)) for folder in absolute]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
