"""Prices and deltas of options, learned from simulated payoffs (differential machine learning).

    python -m train.pricing                                             # both products
    python -m train.pricing --product=basket --num_assets=20 --num_paths=8192

simulates one path from each of 1,024, 4,096 and 8,192 states of the market, with the payoff and
its pathwise derivative. It trains nets on payoffs only (values only), on payoffs and slopes
(Sobolev), and with half of the slopes missing, by the recipe of Huge & Savine (Risk, 2020), and
compares prices and deltas with closed forms: Black & Scholes' for a call, Bachelier's for a call on
a basket. It prints a table of medians over three seeds, and draws errors and curves into the run
folder (`python -m train.plot RUN` draws them again). This takes about five minutes on one core.

A run may be stopped at any moment; the same command trains the nets that are not finished.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from train.lib.run import (
    cells,
    cli,
    files,
    list_flags,
    memory,
    progress,
    run_folder,
    summary,
    unused_flags,
)
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings
from train.pricing import figures, nets, products, table

PRESETS = nets.PRESETS
FLAGS = cli.common_flags(PRESETS, without=cells.UNUSED_FLAGS)
flags.DEFINE_multi_enum(
    "product",
    list(products.NAMES),
    list(products.NAMES),
    "Option to price. call: on one asset, Black-Scholes. basket: on several, Bachelier.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_assets", 7, "Assets of the basket.", 1, products.MOST_ASSETS, flag_values=FLAGS
)
flags.DEFINE_list(
    "num_paths",
    ["1024", "4096", "8192"],
    "Numbers of training paths; nets are trained for each of them.",
    flag_values=FLAGS,
)
flags.DEFINE_list("hidden", None, "Units of each hidden layer.", flag_values=FLAGS)
flags.DEFINE_float(
    "learning_rate", None, "Peak of the one-cycle learning rate.", 1e-9, 1e3, flag_values=FLAGS
)
cells.define_flags(FLAGS, num_seeds=3)
NUMBER_BYTES = 50  # of a number of a path, which is there several times


def main(settings: Settings) -> None:
    """Train every net that has no file yet, and report on all of them."""
    tasks = all_tasks(settings)
    folder = cli.workdir(settings, cells.FLAGS_THAT_MAY_CHANGE)
    results = figures.names(settings.product)
    with run_folder.Run(
        folder, settings.stored(), "pricing", cells.FLAGS_THAT_MAY_CHANGE, results=results
    ) as run:
        run.add_facts(test_points=nets.TEST_POINTS)
        run.path("nets").mkdir(exist_ok=True)
        files.remove_leftovers(run.path("nets"))
        print(f"{len(tasks)} nets in {run.folder}", flush=True)
        rows = cells.train_missing(run, tasks, nets, settings.num_workers)
        report(run, rows)


def all_tasks(settings: Settings) -> list[nets.Task]:
    """Return every net to train, most paths first.

    Raises:
      UsageError: for flags that make no sense.
    """
    if "basket" not in settings.product:
        unused_flags.refuse(settings, ["num_assets"], "--product=call, which is on one asset")
    sizes = list_flags.distinct_whole_numbers(settings, "num_paths")
    hidden = list_flags.whole_numbers(settings, "hidden")
    if min(sizes) < 2:
        raise UsageError("--num_paths=1: z-scores need two paths at least")
    seeds = cells.seeds(settings)
    numbers = max(sizes) * (settings.num_assets + 1)
    memory.refuse_more_than_there_is(f"--num_paths={max(sizes)}", NUMBER_BYTES * numbers)
    num_nets = len(sizes) * settings.num_seeds * len(set(settings.product)) * len(nets.METHOD_NAMES)
    memory.refuse_too_many_nets(settings, num_nets, [settings.num_assets, *hidden, 1])
    return [
        nets.Task(
            product=product,
            num_assets=settings.num_assets,
            paths=paths,
            method=method,
            seed=seed,
            hidden=tuple(hidden),
            steps=settings.steps,
            learning_rate=settings.learning_rate,
        )
        for paths in sorted(sizes, reverse=True)
        for seed in seeds
        for product in dict.fromkeys(settings.product)
        for method in nets.METHOD_NAMES
    ]


def report(run: run_folder.Run, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write summary.json, print the table of medians, and draw the figures."""
    medians = table.medians(rows)
    ratios = table.over_values_only(medians)
    sobolev = [ratio for ratio in ratios if ratio["method"] == "sobolev"]
    last = max(sobolev, key=lambda ratio: (ratio["product"] == "basket", ratio["paths"]))
    seconds = sum(row["seconds"] for row in rows)
    head = summary.head(
        run,
        what=f"{last['product']} from {last['paths']:,} paths",
        name="delta_rmse_over_values_only",
        value=last["delta_rmse"],
        unit="",
        seconds=seconds,
    )
    run.write_summary({**head, "over_values_only": ratios, "medians": medians})
    print(f"\n{table.text(medians)}\n")
    for ratio in ratios:
        print(
            f"{ratio['product']}, {ratio['paths']:,} paths, {nets.METHOD_NAMES[ratio['method']]} "
            f"over values only: price RMSE {ratio['price_rmse']:.2f}, "
            f"delta RMSE {ratio['delta_rmse']:.2f}"
        )
    print(f"{len(rows)} nets, {progress.format_seconds(seconds)} of processor time in all")
    for path in figures.draw(run.folder):
        print(f"Figure: {path}")
    print(cli.next_command("compare it with other runs", "train.plot", run.folder, "RUN"))


if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
