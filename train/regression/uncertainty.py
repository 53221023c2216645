"""Coverage of `predict_std`: how often intervals contain the true values and slopes.

    python -m train.regression.uncertainty                             # section 4.1's seven
    python -m train.regression.uncertainty --function=hartmann3        # one of those outside

fits the default net to values, and to values and slopes, of few points, predicts values, slopes and
their deviations at 200 other points, and prints the share of truths within 1 deviation (68 % of a
Gaussian) and within 1.96 (95 %). With --workdir, uncertainty.json and a figure, band.png, are
written there. A net takes half a minute on a quiet core; with
--folds=0, which leaves the evidence's deviations as they are, a third of that.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import flags

import sobolev_tf as st
from train.lib.run import cli, files, run_folder
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings
from train.regression import band, functions, other_functions, recipes

TEST_POINTS, TEST_SEED = 200, 10**6
HIDDEN, STEPS = (64, 64), 100  # of the preset `modern`
DEVIATIONS = {"68": 1.0, "95": 1.96}

FLAGS = flags.FlagValues()
flags.DEFINE_multi_string(
    "function",
    list(functions.SEVEN),
    f"Functions: of section 4.1, or {', '.join(other_functions.OTHERS)}.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_points", None, "Number of points. Default: 10 for each input.", 1, flag_values=FLAGS
)
flags.DEFINE_integer("num_seeds", 1, "Number of seeds, from 0 on.", 1, flag_values=FLAGS)
flags.DEFINE_integer(
    "folds", 3, "Parts in which rows are left out; see `fit_least_squares`.", 0, flag_values=FLAGS
)
flags.DEFINE_string(
    "workdir", None, "Folder for what is written. Default: none.", flag_values=FLAGS
)

Labeled = tuple[np.ndarray, np.ndarray, np.ndarray]  # x [B,D], values [B,1], slopes [B,1,D]


def main(settings: Settings) -> None:
    """Fit every net, and print and write the coverage of its intervals."""
    unknown = set(settings.function) - {*functions.SEVEN, *other_functions.OTHERS}
    if unknown:
        known = ", ".join([*functions.SEVEN, *other_functions.OTHERS])
        raise UsageError(f"--function={min(unknown)}: expected one of {known}")
    fewest = settings.num_points or 10 * min(labeler(name)[0] for name in settings.function)
    if settings.folds == 1 or settings.folds > fewest:
        raise UsageError(f"--folds={settings.folds}: expected 0, or from 2 to {fewest} (points)")
    if settings.workdir:
        run_folder.make_folder(Path(settings.workdir))
        run_folder.check_places(Path(settings.workdir), ["uncertainty.json", "band.png"])
    rows = []
    print(f"{'':40s}value 68  95   slope 68  95 %", flush=True)
    for name in settings.function:
        for seed in range(settings.num_seeds):
            for method in recipes.NUM_LABELS:
                row = coverage_row(name, settings.num_points, seed, method, settings.folds)
                rows.append(row)
                print(text(row), flush=True)
                write(settings, rows)
    for method in recipes.NUM_LABELS:
        print(text(mean_row(rows, method)), flush=True)
    if settings.workdir:
        print(f"Figure: {band.draw(Path(settings.workdir, 'band.png'))}")


def write(settings: Settings, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows so far to uncertainty.json."""
    if settings.workdir:
        facts: dict[str, Any] = {"folds": settings.folds, "rows": rows}
        facts |= {"commit": run_folder.git_commit(), "versions": run_folder.versions()}
        files.write_json(Path(settings.workdir, "uncertainty.json"), facts)


def coverage_row(
    name: str, num_points: int | None, seed: int, method: str, folds: int
) -> dict[str, Any]:
    """Fit a net to points of a function; return shares of truths within intervals, in percent."""
    inputs, _ = labeler(name)
    size = num_points or 10 * inputs
    keras.utils.set_random_seed(seed)
    x, *labels = sample(name, size, (seed, size))
    used = labels[: recipes.NUM_LABELS[method]]
    model = recipes.modern(x, used, HIDDEN, STEPS, folds)
    x, *truths = sample(name, TEST_POINTS, (TEST_SEED,))
    jet, std = model.predict_jet(x), model.predict_std(x, verbose=0)
    error = np.sqrt(np.mean((jet.value - truths[0]) ** 2)) / np.std(truths[0])
    row = {"function": name, "inputs": inputs, "size": size, "method": method, "seed": seed}
    row["relative_error"] = float(error)
    pairs = {"value": (jet.value, std.value), "slope": (jet.derivatives[0], std.derivatives[0])}
    for truth, (term, (predicted, deviation)) in zip(truths, pairs.items(), strict=True):
        for share, width in DEVIATIONS.items():
            inside = np.abs(predicted - truth) <= width * deviation
            row[f"{term}_{share}"] = float(100 * np.mean(inside))
    return row


def labeler(name: str) -> tuple[int, Callable[[int, Sequence[int]], Labeled]]:
    """Return the number of inputs of a function, and what draws labeled points of it."""
    if name in functions.SEVEN:
        function = functions.SEVEN[name]

        def draw(count, seed):
            points = functions.labeled_points(function, count, seed)
            return points.x, *points.labels

        return 2, draw
    other = other_functions.OTHERS[name]

    def draw_other(count, seed):
        x = np.random.default_rng(seed).uniform(0, 1, [count, other.inputs])
        return x, *map(np.asarray, st.targets.tabulate(other.f, x))

    return other.inputs, draw_other


def sample(name: str, count: int, seed: Sequence[int]) -> Labeled:
    """Draw labeled points of a function."""
    return labeler(name)[1](count, seed)


def mean_row(rows: Sequence[dict[str, Any]], method: str) -> dict[str, Any]:
    """Average the shares of a method's rows."""
    chosen = [row for row in rows if row["method"] == method]
    shares = [f"{term}_{share}" for term in ("value", "slope") for share in DEVIATIONS]
    mean = {share: float(np.mean([row[share] for row in chosen])) for share in shares}
    return {"function": "mean", "size": 0, "method": method, "seed": 0, **mean}


def text(row: dict[str, Any]) -> str:
    """Format a row."""
    what = f"{row['function']}, {row['size'] or 'all'}, {row['method']}"
    shares = f"{row['value_68']:10.0f}{row['value_95']:4.0f}{row['slope_68']:11.0f}"
    return f"{what:38s}{shares}{row['slope_95']:4.0f}"


if __name__ == "__main__":
    cli.run(main, FLAGS)
