"""A force field of copper and aluminum clusters, from energies with and without forces.

    python -m train.forces                    # both systems, three seeds
    python -m train.forces --system=cu9al4    # thirteen atoms only

takes configurations from molecular dynamics at 700 K with ASE's EMT calculator (extra `forces`).
It trains an invariant net on energies only, on energies and forces (Sobolev), and with the forces
of half of the configurations missing, and tests on 200 configurations of other trajectories. Then
molecular dynamics runs with the exported models as calculators, to see how well they conserve
energy compared with EMT.

Systems: `cu9al4`, 13 atoms; `mixed`, five compositions of 8 to 12 atoms, padded. A run may be
stopped at any moment; the same command trains the nets that are not finished.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from train.forces import clusters, dynamics, figures, recipes, table
from train.lib.run import cells, cli, files, memory, progress, run_folder, summary
from train.lib.run.settings import Settings

FLAGS = cli.common_flags(without=cells.UNUSED_FLAGS)
flags.DEFINE_multi_enum(
    "system",
    list(clusters.SYSTEMS),
    list(clusters.SYSTEMS),
    "Clusters to learn; the first one is used for molecular dynamics.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_configurations",
    200,
    "Number of configurations to train on.",
    lower_bound=10,
    upper_bound=100_000,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "hidden",
    64,
    "Units of each of the two hidden layers.",
    lower_bound=1,
    upper_bound=4096,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "md_steps",
    1000,
    "Steps of molecular dynamics, of 2 fs.",
    lower_bound=10,
    upper_bound=10_000_000,
    flag_values=FLAGS,
)
cells.define_flags(FLAGS, num_seeds=3)
FLAGS.set_default("steps", 3000)


def main(settings: Settings) -> None:
    """Train every net that has no file yet, run the dynamics, and report."""
    tasks = all_tasks(settings)
    clusters.need_ase()
    folder = cli.workdir(settings, cells.FLAGS_THAT_MAY_CHANGE)
    with run_folder.Run(
        folder, settings.stored(), "forces", cells.FLAGS_THAT_MAY_CHANGE, results=figures.NAMES
    ) as run:
        run.add_facts(num_test=clusters.NUM_TEST)
        for name in ("nets", "data", "dynamics"):
            run.path(name).mkdir(exist_ok=True)
            files.remove_leftovers(run.path(name))
        print(f"{len(tasks)} nets in {run.folder}", flush=True)
        for system in settings.system:  # once, before the workers need them
            make_data(run, system, settings.num_configurations)
        rows = cells.train_missing(run, tasks, recipes, settings.num_workers)
        first = settings.system[0], settings.seed
        chosen = [task for task in tasks if (task.system, task.seed) == first]
        runs = dynamics.make(run.folder, chosen, settings.md_steps)
        report(run, rows, table.drifts(runs))


def all_tasks(settings: Settings) -> list[recipes.Task]:
    """Return every net to train.

    Raises:
      UsageError: for seeds that are too large, or too many nets.
    """
    seeds = cells.seeds(settings)
    num_nets = settings.num_seeds * len(set(settings.system)) * len(recipes.METHOD_NAMES)
    memory.refuse_too_many_nets(settings, num_nets)
    return [
        recipes.Task(
            system=system,
            method=method,
            seed=seed,
            num_configurations=settings.num_configurations,
            steps=settings.steps,
            hidden=settings.hidden,
        )
        for seed in seeds
        for system in dict.fromkeys(settings.system)
        for method in recipes.METHOD_NAMES
    ]


def make_data(run: run_folder.Run, system: str, num_configurations: int) -> None:
    """Make the configurations of a system that the folder does not hold yet."""
    train = clusters.load(run.folder, system, num_configurations, clusters.TRAIN_SEED)
    test = clusters.load(run.folder, system, clusters.NUM_TEST, clusters.TEST_SEED)
    name, spread = clusters.SYSTEM_NAMES[system], recipes.rmse(0 * test.forces, test.forces)
    print(
        f"{name}: {len(train.energies)} configurations, and {len(test.energies)} to test on, "
        f"with forces of {spread:.0f} meV/Å",
        flush=True,
    )


def report(
    run: run_folder.Run, rows: Sequence[Mapping[str, Any]], drifts: Mapping[str, Any]
) -> None:
    """Write summary.json, print the tables, and draw the figures."""
    medians = table.medians(rows)
    seconds = sum(row["seconds"] for row in rows)
    system = clusters.SYSTEM_NAMES[medians[0]["system"]]
    [sobolev] = [m for m in medians[: len(recipes.METHOD_NAMES)] if m["method"] == "sobolev"]
    head = summary.head(
        run,
        what=f"energies and forces of {system}",
        name="force_rmse",
        value=sobolev["force_rmse"][0],
        unit="meV/Å",
        seconds=seconds,
    )
    run.write_summary({**head, "medians": medians, "dynamics": drifts})
    print(f"\n{table.text(medians)}\n\n{table.drift_text(drifts)}\n")
    print(f"{len(rows)} nets, {progress.format_seconds(seconds)} of training in all")
    for path in figures.draw(run.folder):
        print(f"Figure: {path}")
    print(cli.next_command("compare it with other runs", "train.plot", run.folder, "RUN"))


if __name__ == "__main__":
    cli.run(main, FLAGS)
