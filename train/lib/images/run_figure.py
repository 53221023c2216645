"""The figure of a run, from its folder and the finished runs in the same folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train.lib.images import critic_flags, figure, table1
from train.lib.images.run_title import data_name, scale
from train.lib.run import files, metrics_csv, schema
from train.lib.run.errors import UsageError, reading

COMPARED = ("noprop", "backprop")  # the ends between which the other methods lie
BASELINES = "baselines.json"  # {label: accuracy} of runs whose folders were not kept


def draw(folder: Path, into: Path | None = None) -> list[Path]:
    """Draw the figure of a finished run into the folder `into`, or its own; return [its path].

    Raises:
      UsageError: a file of the run is damaged.
    """
    folder = Path(folder)
    result = table1.read(folder)
    rows = metrics_csv.read_rows(folder / "metrics.csv")
    with reading(folder / "summary.json", "run its command again", "is damaged"):
        summary = files.read_json(folder / "summary.json")
        cuts, title = list(summary["cuts"]), summary.get("title") or _title(result, summary)
        shares = baselines(result, own_baselines(summary))
        schema.check_numbers(shares)
        schema.check_columns(rows[-1], ["step", *figure.STYLES])
    path = Path(into or folder) / "figure.png"
    figure.draw(path, title, rows, cuts, shares)
    return [path]


def own_baselines(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return {label: accuracy} in a run's summary.json, where older runs call them floors."""
    shares = dict(summary["baselines"] if "baselines" in summary else summary["floors"])
    schema.check_shares(list(shares.values()), len(shares))
    return shares


def baselines(result: table1.Result, own: Mapping[str, float]) -> dict[str, float]:
    """Return {label: accuracy} of chance, and of noprop and backprop if they are known.

    Args:
      result: the run.
      own: its own baselines, from summary.json.
    """
    kept = result.folder / BASELINES
    shares = dict(own) | (files.read_json(kept) if kept.exists() else {})
    for path in sorted(result.folder.absolute().parent.glob("*/summary.json")):
        try:
            other = table1.read(path.parent)
        except UsageError:  # a run of another script, or a damaged one
            continue
        if other.method in COMPARED and other.method != result.method and _like(result, other):
            shares[other.method] = other.accuracy[0] / 100
    return shares


def _like(result: table1.Result, other: table1.Result) -> bool:
    """Return whether two runs differ in their method only.

    Those that are `COMPARED` have no critics, and backpropagation has no cuts.
    """
    free = table1.FLAGS_THAT_MAY_DIFFER - {"seed"} | table1.FLAGS_OF_A_METHOD | critic_flags.NAMES
    flags = (result.flags.keys() | other.flags.keys()) - free
    return (
        (result.script, result.data, result.steps) == (other.script, other.data, other.steps)
        and (not other.splits or other.cuts == result.cuts)
        and all(result.flags.get(name) == other.flags.get(name) for name in flags)
    )


def _title(result: table1.Result, summary: Mapping[str, Any]) -> str:
    """Return the title of a run that is older than the titles in summary.json."""
    method, cuts = table1.NAMES[result.method], table1.count_of_cuts(result.splits)
    subject = f"{summary['net']} on {data_name(result.images)}, {method}, {cuts}"
    seed = result.flags.get("seed", 0)
    return f"{subject}\n{scale(result.flags, result.images, result.steps)}, one seed ({seed})"
