"""Seven functions of two variables, learned with and without derivatives (section 4.1).

    python -m train.regression                                           # the seven
    python -m train.regression --function="sin(x)*y" --domain=-1,1,-1,1  # one of your own

trains a net on values only and one on values and gradients (Sobolev), for every function, for 20,
100 and 10,000 points, and for three seeds. It prints a table of medians over the seeds, and draws
the paper's figures 2 (right), 3 and 5 to 11 into the run folder (`python -m train.plot RUN` draws
them again).

`--suite=engineering` fits functions of 6 to 10 inputs from 10 and 30 points an input instead, by
`st.fit_surrogate` and by the fits that it chooses from; from the fewest points, slopes with noise
of 5, 10 and 20 % are tried as well.

Presets: `modern` (the default) is what this library recommends for small data. `paper` is the
paper's recipe: 2x256 ReLU, Adam at 3e-5. `surrogate` is `st.fit_surrogate`. A run may be stopped
at any moment; the same command trains the nets that are not finished.
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
from train.regression import engineering, figures, functions, recipes, table
from train.regression.problems import PROBLEMS

PRESETS = recipes.PRESETS
FLAGS = cli.common_flags(PRESETS, without=cells.UNUSED_FLAGS)
flags.DEFINE_multi_string(
    "function",
    list(functions.SEVEN),
    "Function to learn: one of the seven, or an expression in x and y with --domain.",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "domain",
    None,
    "Domain of an expression: x from, x to, y from, y to.",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "num_points",
    ["20", "100", "10000"],
    "Numbers of training points; nets are trained for each of them.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "suite",
    "functions",
    ["functions", "engineering"],
    "What to learn: functions of two variables, or engineering functions of 6 to 10 inputs.",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "points_per_input",
    ["10", "30"],
    "Training points for each input, for --suite=engineering.",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "slope_noise",
    ["0.05", "0.1", "0.2"],
    "Noise of slopes, as shares of each slope's root mean square, for --suite=engineering.",
    flag_values=FLAGS,
)
flags.DEFINE_multi_enum(
    "problem",
    list(PROBLEMS),
    list(PROBLEMS),
    "Function of --suite=engineering to learn.",
    flag_values=FLAGS,
)
flags.DEFINE_multi_enum(
    "fit",
    list(engineering.FITS),
    list(engineering.FITS),
    "Fit of --suite=engineering. Only surrogate also gets slopes with noise.",
    flag_values=FLAGS,
)
flags.DEFINE_list("hidden", None, "Units of each hidden layer.", flag_values=FLAGS)
flags.DEFINE_integer(
    "batch_size",
    None,
    "Points in a training step of --preset=paper; all points if there are fewer.",
    lower_bound=1,
    flag_values=FLAGS,
)
cells.define_flags(FLAGS, num_seeds=3)
POINT_BYTES = 100  # of a point with its labels, which are there several times
FUNCTIONS_FLAGS = ["preset", "function", "domain", "num_points", "hidden", "steps", "batch_size"]
FUNCTIONS_FLAGS += ["num_workers"]
ENGINEERING_FLAGS = ["points_per_input", "slope_noise", "problem", "fit"]
# When a run is resumed:
FLAGS_THAT_MAY_CHANGE = [*cells.FLAGS_THAT_MAY_CHANGE, *ENGINEERING_FLAGS]


def main(settings: Settings) -> None:
    """Train every net that has no file yet, and report on all of them."""
    if settings.suite == "engineering":
        main_of_engineering(settings)
        return
    tasks = all_tasks(settings)
    folder = cli.workdir(settings, FLAGS_THAT_MAY_CHANGE)
    with run_folder.Run(
        folder, settings.stored(), "regression", FLAGS_THAT_MAY_CHANGE, results=["figure2.png"]
    ) as run:
        run.add_facts(test_points=recipes.TEST_POINTS)
        run.path("nets").mkdir(exist_ok=True)
        files.remove_leftovers(run.path("nets"))
        print(f"{len(tasks)} nets, preset {settings.preset}, in {run.folder}", flush=True)
        rows = cells.train_missing(run, tasks, recipes, settings.num_workers, recipes.effort)
        report(run, rows)


def main_of_engineering(settings: Settings) -> None:
    """Fit the engineering functions, one by one in this process."""
    unused_flags.refuse(settings, FUNCTIONS_FLAGS, "--suite=engineering")
    chosen = engineering.all_cells(settings)
    folder = cli.workdir(settings, FLAGS_THAT_MAY_CHANGE)
    with run_folder.Run(
        folder, settings.stored(), "regression", FLAGS_THAT_MAY_CHANGE, results=[]
    ) as run:
        print(f"{len(chosen)} fits of functions of 6 to 10 inputs, in {run.folder}", flush=True)
        engineering.main(run, settings, chosen)
        print(cli.next_command("compare it with other runs", "train.plot", run.folder, "RUN"))


def all_tasks(settings: Settings) -> list[recipes.Task]:
    """Return every net to train, largest data first.

    Raises:
      UsageError: for flags that make no sense.
    """
    suite = "--suite=functions, only for --suite=engineering"
    unused_flags.refuse(settings, ENGINEERING_FLAGS, suite)
    sizes = list_flags.distinct_whole_numbers(settings, "num_points")
    hidden = list_flags.whole_numbers(settings, "hidden")
    seeds = cells.seeds(settings)
    if settings.batch_size and settings.preset != "paper":
        raise UsageError(
            f"--batch_size={settings.batch_size} is for --preset=paper; the steps of "
            f"--preset={settings.preset} take all points"
        )
    if settings.preset == "surrogate":
        chooses = "--preset=surrogate, which chooses its net"
        unused_flags.refuse(settings, ["hidden", "steps"], chooses)
    if settings.domain and not set(settings.function) - set(functions.SEVEN):
        raise UsageError("--domain is for a --function=EXPRESSION; the seven have their own")
    memory.refuse_more_than_there_is(f"--num_points={max(sizes)}", POINT_BYTES * max(sizes))
    names = list(dict.fromkeys(settings.function))
    num_nets = len(sizes) * settings.num_seeds * len(names) * len(recipes.NUM_LABELS)
    memory.refuse_too_many_nets(settings, num_nets, [2, *hidden, 1])
    # The paper's nets compute in float32.
    is_paper = settings.preset == "paper"
    largest = functions.LARGEST_FLOAT32 if is_paper else functions.LARGEST
    for name in names:
        function = functions.resolve(name, settings.domain)
        functions.labeled_points(function, 1000, seed=(settings.seed,), largest=largest)
    return [
        recipes.Task(
            function=function,
            domain=settings.domain,
            size=size,
            method=method,
            seed=seed,
            preset=settings.preset,
            hidden=tuple(hidden),
            steps=settings.steps,
            batch_size=settings.batch_size,
        )
        for size in sorted(sizes, reverse=True)
        for seed in seeds
        for function in names
        for method in recipes.NUM_LABELS
    ]


def report(run: run_folder.Run, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write summary.json, print the table of medians, and draw the figures."""
    medians = table.medians(rows)
    lower = table.sobolev_lower(medians)
    num_cells = sum(functions for _, functions in lower.values())
    seconds = sum(row["seconds"] for row in rows)
    head = summary.head(
        run,
        what=f"functions of two variables, preset {run.config['flags']['preset']}",
        name="sobolev_lower",
        value=sum(count for count, _ in lower.values()),
        unit=f"of {num_cells} cells",
        seconds=seconds,
    )
    run.write_summary({**head, "sobolev_lower": lower, "medians": medians})
    print(f"\n{table.text(medians)}\n")
    for size, (count, of) in lower.items():
        print(f"{size} points: Sobolev has the lower median test MSE on {count} of {of} functions")
    print(f"{len(rows)} nets, {progress.format_seconds(seconds)} of training in all")
    for path in figures.draw(run.folder):
        print(f"Figure: {path}")
    print(cli.next_command("compare it with other runs", "train.plot", run.folder, "RUN"))


if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
