"""Seven functions of two variables, learned with derivatives and without (section 4.1).

    python -m train.regression                                           # the seven
    python -m train.regression --function="sin(x)*y" --domain=-1,1,-1,1  # one of your own

trains a net on values alone and one on values and gradients (Sobolev), for every function, 20, 100
and 10,000 points, and three seeds; prints a table of medians over the seeds, and draws the paper's
figures 2 (right), 3 and 5 to 11 into the run folder (`python -m train.plot RUN` draws them again).

Presets: `modern` (the default) is what this library recommends for small data. `paper` is the
paper's recipe: 2x256 ReLU, Adam at 3e-5. Stopped at any moment, the same command goes on with the
nets that are not finished.
"""

import functools
import os

from absl import flags

from train.lib.run import cli, files, metrics_csv, processes, progress, run_folder
from train.regression import figures, functions, recipes, table

PRESETS = recipes.PRESETS
UNUSED = ["epochs", "jit_compile", "strategy", "devices", "deterministic", "tensorboard"]
FLAGS = cli.common_flags(PRESETS, without=UNUSED)
OWN = {"flag_values": FLAGS}
flags.DEFINE_multi_string(
    "function",
    list(functions.SEVEN),
    "One of the seven, or an expression in x and y with --domain; may be given several times.",
    **OWN,
)
flags.DEFINE_list("domain", None, "Of an expression: x from, x to, y from, y to.", **OWN)
flags.DEFINE_list("sizes", ["20", "100", "10000"], "Numbers of training points.", **OWN)
flags.DEFINE_list("hidden", None, "Widths of the hidden layers.", **OWN)
flags.DEFINE_integer(
    "batch_size",
    None,
    "Points in a step of --preset=paper, all if there are fewer; default: 100.",
    1,
    **OWN,
)
flags.DEFINE_integer("seeds", 3, "How many seeds, from --seed on.", 1, **OWN)
flags.DEFINE_integer(
    "jobs", os.cpu_count(), "Nets at a time, one core each; 0: in this process.", 0, **OWN
)
CHANGEABLE = ["jobs", "seeds"]  # may differ when a run goes on


def main(settings):
    tasks = all_tasks(settings)
    with run_folder.Run(
        cli.workdir(settings, CHANGEABLE), settings.stored(), "regression", CHANGEABLE
    ) as run:
        run.add_facts(test_points=recipes.TEST_POINTS)
        run.path("nets").mkdir(exist_ok=True)
        files.remove_leftovers(run.path("nets"))
        rows = train_missing(settings, run, tasks)
        finish(settings, run, rows)


def all_tasks(settings):
    """Every net to train, largest data first. Raises UsageError for flags that make no sense."""
    sizes, hidden = (whole_numbers(settings, name) for name in ("sizes", "hidden"))
    if settings.seed + settings.seeds > 2**32:
        raise cli.UsageError(
            f"--seed={settings.seed}: seeds are below {2**32}, all {settings.seeds} of them"
        )
    if settings.batch_size and settings.preset != "paper":
        raise cli.UsageError(
            f"--batch_size={settings.batch_size} is for --preset=paper; the steps of "
            f"--preset={settings.preset} take all points"
        )
    if settings.domain and not set(settings.function) - set(functions.SEVEN):
        raise cli.UsageError("--domain is for a --function=EXPRESSION; the seven have their own")
    for each in settings.function:
        function = functions.resolve(each, settings.domain)
        functions.labeled_points(function, 1000, seed=(settings.seed,))
    domain = settings.domain and tuple(settings.domain)
    return [
        recipes.Task(
            function=function,
            domain=domain,
            size=size,
            method=method,
            seed=seed,
            preset=settings.preset,
            hidden=tuple(hidden),
            steps=settings.steps,
            batch_size=settings.batch_size,
        )
        for size in sorted(set(sizes), reverse=True)
        for seed in range(settings.seed, settings.seed + settings.seeds)
        for function in dict.fromkeys(settings.function)
        for method in recipes.NUM_LABELS
    ]


def whole_numbers(settings, name):
    """The list of a flag as numbers of at least 1."""
    given = settings.values[name]
    try:
        numbers = [int(number) for number in given]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        text = ",".join(map(str, given))
        raise cli.UsageError(f"--{name}={text}: expected whole numbers of at least 1, as in 20,100")
    return numbers


def train_missing(settings, run, tasks):
    """Trains what has no file yet; returns the rows of metrics.csv, which grows with each net."""
    missing = [task for task in tasks if not recipes.is_done(run.folder, task)]
    if len(missing) < len(tasks):
        print(f"{run.folder}: {len(tasks) - len(missing)} of {len(tasks)} nets are done")
    rows = {task: recipes.metrics_row(run.folder, task) for task in set(tasks) - set(missing)}
    bar = progress.Bar(sum(map(recipes.effort, missing)))
    work = functools.partial(recipes.train_and_save, run.folder)
    for task, text in processes.run(work, missing, settings.jobs):
        rows[task] = recipes.metrics_row(run.folder, task)
        write_rows(run, [rows[task] for task in tasks if task in rows])
        bar.add(recipes.effort(task), text)
    rows = [rows[task] for task in tasks]
    write_rows(run, rows)
    return rows


def write_rows(run, rows):
    """metrics.csv, whole at any moment."""
    with files.replacing(run.path("metrics.csv")) as file:
        file.write(metrics_csv.as_csv(rows, header=True))


def finish(settings, run, rows):
    medians = table.medians(rows)
    counts = table.sobolev_lower(medians)
    run.write_summary(
        {
            "preset": settings.preset,
            "medians": medians,
            "sobolev_below_values": counts,
            "net_seconds": sum(row["seconds"] for row in rows),
            **{key: run.config[key] for key in ("commit", "versions")},
        }
    )
    print(f"\n{table.text(medians)}\n")
    for size, (better, of) in counts.items():
        print(f"{size} points: Sobolev has the lower median test MSE on {better} of {of} functions")
    for path in figures.draw(run.folder):
        print(f"Figure: {path}")


if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
