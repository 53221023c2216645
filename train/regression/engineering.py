"""The suite `engineering`: functions of 6 to 10 inputs from few points, by the library's fits.

Each cell is a problem, points per input, noise of slopes, a seed and a fit; its errors have a file
of their own, so that a run goes on where it was stopped.
"""

import dataclasses
import functools
import itertools
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import sobolev_tf as st
from train.lib.run import (
    cells,
    files,
    identity,
    list_flags,
    memory,
    metrics_csv,
    run_folder,
    schema,
    summary,
    text_table,
)
from train.lib.run.errors import UsageError, reading
from train.lib.run.settings import Settings
from train.regression.problems import PROBLEMS

TEST_POINTS, TEST_SEED = 2000, 10**9
MEASURES = ("value_error", "gradient_error", "seconds")
NUMBER_BYTES = 20  # of a number of a point, which is there several times


@dataclasses.dataclass(frozen=True)
class Cell:
    """One fit on one data set."""

    problem: str
    points_per_input: int
    noise: float  # of slopes, over the root mean square of each
    seed: int
    fit: str

    @property
    def file_name(self) -> str:
        """Name the cell's file."""
        return "-".join(str(field) for field in dataclasses.astuple(self)) + ".json"


def surrogate(x: np.ndarray, y: np.ndarray, dy: np.ndarray, seed: int) -> st.SobolevModel:
    """The recipe: `fit_surrogate`."""
    return st.fit_surrogate(x, (y, dy), seed=seed, verbose=0)


def surrogate_values(x: np.ndarray, y: np.ndarray, dy: np.ndarray, seed: int) -> st.SobolevModel:
    """The recipe on values only."""
    return st.fit_surrogate(x, y, seed=seed, verbose=0)


def least_squares(x: np.ndarray, y: np.ndarray, dy: np.ndarray, seed: int) -> st.SobolevModel:
    """An MLP by Gauss-Newton with evidence, as section 4.1's."""
    model = _mlp(x, y, dy, "rms")
    st.fit_least_squares(model, x, (y, dy), iterations=100, regularization="evidence", verbose=0)
    return model


def lbfgs(x: np.ndarray, y: np.ndarray, dy: np.ndarray, seed: int) -> st.SobolevModel:
    """An MLP by L-BFGS, without component weights."""
    model = _mlp(x, y, dy, None)
    st.fit_lbfgs(model, x, (y, dy), iterations=300, verbose=0)
    return model


def _mlp(x, y, dy, component_weights):
    net = st.nets.mlp(x.shape[1], hidden=[64, 64], activation="silu", dtype="float64")
    model = st.SobolevModel(net)
    model.compile("adam", component_weights=component_weights)
    model.adapt(x, (y, dy))
    return model


FITS = {
    "surrogate": surrogate,
    "surrogate_values": surrogate_values,
    "least_squares": least_squares,
    "lbfgs": lbfgs,
}


def data(
    problem: str, points_per_input: int, noise: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points [B,D], values [B,1] and gradients [B,1,D], these with noise."""
    chosen = PROBLEMS[problem]
    points = chosen.points(points_per_input * chosen.inputs, (seed, points_per_input))
    y, dy = points.labels
    random = np.random.default_rng((seed, points_per_input, 1))
    size = np.sqrt(np.mean(dy**2, 0))
    return points.x, y, dy + noise * size * random.normal(size=dy.shape)


def errors(
    problem: str, value: np.ndarray, gradient: np.ndarray, test: st.targets.Table | None = None
) -> dict[str, float]:
    """Compute the RMSE of values over their deviation, and that of gradients over their size.

    Gradients are of inputs on a unit box: each input counts by how much it matters.
    """
    test = test or test_points(problem)
    y, dy = test.labels
    width = np.array(PROBLEMS[problem].high) - np.array(PROBLEMS[problem].low)
    dy, gradient = np.reshape(dy, [len(y), -1]) * width, np.reshape(gradient, [len(y), -1]) * width
    return {
        "value_error": float(np.sqrt(np.mean((np.reshape(value, y.shape) - y) ** 2)) / np.std(y)),
        "gradient_error": float(np.sqrt(np.mean((gradient - dy) ** 2) / np.mean(dy**2))),
    }


def test_points(problem: str) -> st.targets.Table:
    """Return the points that every fit of a problem is tested on."""
    return PROBLEMS[problem].points(TEST_POINTS, (TEST_SEED,))


def measure(cell: Cell) -> dict[str, Any]:
    """Fit and test a cell: its fields, errors and processor seconds."""
    x, y, dy = data(cell.problem, cell.points_per_input, cell.noise, cell.seed)
    keras.utils.set_random_seed(cell.seed)
    began = time.process_time()
    model = FITS[cell.fit](x, y, dy, cell.seed)
    seconds = time.process_time() - began
    test = test_points(cell.problem)
    jet = model.predict_jet(test.x)
    found = errors(cell.problem, jet.value, jet.derivatives[0], test)
    chosen = getattr(model, "surrogate", None)
    net = chosen.net if chosen else "mlp"
    return dataclasses.asdict(cell) | found | {"seconds": seconds, "net": net}


def all_cells(settings: Settings) -> list[Cell]:
    """Return the cells of a run; noise at the smallest number of points only.

    Raises:
      UsageError: for flags that make no sense, or ask for more than fits into memory.
    """
    sizes = sorted(list_flags.distinct_whole_numbers(settings, "points_per_input"))
    seeds = cells.seeds(settings)
    fits = [name for name in FITS if name in settings.fit]
    problems = [name for name in PROBLEMS if name in settings.problem]
    noises = slope_noises(settings)
    refuse_too_large(settings, sizes[-1], (len(fits) * len(sizes) + len(noises)) * len(problems))
    exact = itertools.product(sizes, fits, seeds, problems)
    noisy = itertools.product(noises, seeds, problems)
    return [
        *(Cell(problem, count, 0.0, seed, fit) for count, fit, seed, problem in exact),
        *(Cell(problem, sizes[0], noise, seed, "surrogate") for noise, seed, problem in noisy),
    ]


def refuse_too_large(settings: Settings, points_per_input: int, cells_of_a_seed: int) -> None:
    """Raise UsageError if the largest data set, or the list of cells, does not fit into memory."""
    most = max(PROBLEMS[name].inputs for name in settings.problem)
    numbers = points_per_input * most * (2 * most + 1)  # points, values and gradients
    request = f"--points_per_input={points_per_input}"
    memory.refuse_more_than_there_is(request, NUMBER_BYTES * numbers)
    in_this_process = settings.replace(num_workers=0)
    memory.refuse_too_many_nets(in_this_process, settings.num_seeds * cells_of_a_seed)


def slope_noises(settings: Settings) -> list[float]:
    """Return the numbers of --slope_noise, which are of the fit `surrogate`.

    Raises:
      UsageError: for others than those above 0, or if they were typed for other fits.
    """
    noises = []
    if settings.slope_noise:
        noises = list_flags.distinct_numbers(settings, "slope_noise")
    if "surrogate" in settings.fit:
        return noises
    if noises and "slope_noise" in settings.typed:
        raise UsageError("--slope_noise is for --fit=surrogate, which is not chosen: drop it")
    return []


def main(run: run_folder.Run, settings: Settings, chosen: Sequence[Cell]) -> None:
    """Fit the cells that have no file yet, or a damaged one, and report on all of them."""
    run.add_facts(test_points=TEST_POINTS)
    folder = run.path("cells")
    folder.mkdir(exist_ok=True)
    files.remove_leftovers(folder)
    run_folder.check_places(folder, [cell.file_name for cell in chosen])
    rows = []
    for number, cell in enumerate(chosen, 1):
        path = folder / cell.file_name
        if not cells.is_whole(path, functools.partial(read_row, path, cell)):
            row = measure(cell)
            files.write_json(path, row)
            line = f"{cell.problem}, {cell.points_per_input} points an input, {cell.fit}"
            print(f"{number}/{len(chosen)} {line}: {row['value_error']:.3g}", flush=True)
        rows.append(read_row(path, cell))
    metrics_csv.write(run.path("metrics.csv"), rows)
    found = medians(rows)
    main_fit = "surrogate" if "surrogate" in settings.fit else settings.fit[0]
    exact = [m["value_error"] for m in found if m["fit"] == main_fit and not m["noise"]]
    head = summary.head(
        run,
        what=f"engineering functions of 6 to 10 inputs, exact slopes, fit {main_fit}",
        name="median_value_error",
        value=statistics.median(exact),
        unit="of the values' deviation",
        seconds=sum(row["seconds"] for row in rows),
    )
    over_values = errors_over_values_only(found)
    run.write_summary({**head, "medians": found, "over_values_only": over_values})
    print(text(found))
    fewest = min(cell.points_per_input for cell in chosen)
    for noise, ratios in over_values.items():
        worst = max(ratios, key=lambda name: ratios[name])
        print(
            f"{fewest} points an input, noise {noise}: value errors with slopes over those with "
            f"values only: at most {ratios[worst]:.3g} ({worst})"
        )


def read_row(path: Path, cell: Cell) -> dict[str, Any]:
    """Return what `measure` gave for a cell. Raises DamagedError for the file of another one."""
    fields: dict[str, schema.Kind] = {"problem": str, "fit": str, "net": str}
    fields |= {"points_per_input": int, "noise": schema.NUMBER, "seed": int}
    with reading(path, "its command fits it again", "cannot be read"):
        row = files.read_json(path)
        schema.check(row, fields | dict.fromkeys(MEASURES, schema.NUMBER))
        identity.check(row, dataclasses.asdict(cell))
        if low := [name for name in MEASURES if row[name] < 0]:
            raise ValueError(f"{low[0]} is {row[low[0]]}, expected at least 0")
    return row


def medians(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the medians over seeds of each problem, size, noise and fit."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        key = row["problem"], row["points_per_input"], row["noise"], row["fit"]
        groups.setdefault(key, []).append(row)
    return [
        dict(zip(("problem", "points_per_input", "noise", "fit"), key, strict=True))
        | {name: statistics.median(row[name] for row in group) for name in MEASURES}
        for key, group in groups.items()
    ]


def errors_over_values_only(found: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Divide value errors of `surrogate` by those that it has without slopes.

    At the number of points where slopes with noise were tried.

    Returns:
      {noise: {problem: ratio}}, empty without both fits.
    """
    sizes = {m["points_per_input"] for m in found if m["noise"]}
    chosen = [m for m in found if m["points_per_input"] in sizes]
    values = {m["problem"]: m["value_error"] for m in chosen if m["fit"] == "surrogate_values"}
    ratios: dict[str, dict[str, float]] = {}
    for m in chosen:
        if m["fit"] == "surrogate" and m["problem"] in values:
            ratio = m["value_error"] / values[m["problem"]]
            ratios.setdefault(str(m["noise"]), {})[m["problem"]] = ratio
    return ratios


def text(found: Iterable[dict[str, Any]]) -> str:
    """Return the medians as aligned text."""
    header = ["problem", "points/input", "noise", "fit", "value error", "gradient error", "seconds"]
    rows = [
        [m["problem"], m["points_per_input"], m["noise"], m["fit"]]
        + [f"{m[name]:.3g}" for name in MEASURES]
        for m in found
    ]
    return text_table.table(header, rows)
