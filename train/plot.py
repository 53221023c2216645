"""Draw figures and tables of finished runs from their folders, and compare runs.

    python -m train.plot runs/regression            # section 4.1's figures 2 (right), 3 and 5 to 11
    python -m train.plot runs/cifar10-* runs/imagenet-*          # Table 1 (section 4.3)

For train.regression, train.pricing, train.forces, train.distill (figure 4) and train.teacher (the
learning curve, also of an unfinished run), figures go into the run folder or, with --workdir, into
a folder of the same name there. Runs of train.cifar10 and train.imagenet make Table 1 beside the
paper's numbers, which is printed and written as table1.md and table1.png. Runs that differ only in
their seed, such as those of --seeds=0,1,2, make one cell. Several runs on the same images also get
curves.png: accuracy and cosines over steps. A single run gets its own figure.png.

Two or more runs of a script are compared: a line for each run, with the flags that differ and its
headline number. Recordings of train.record have no figure and are only compared.

Files, such as a table1.md that matches runs/*, are ignored. Runs that cannot be drawn are skipped
with a line; the exit code is 2 only if nothing was drawn.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from train.distill import figures as distill
from train.forces import figures as forces
from train.lib.images import curves, run_figure, table1
from train.lib.run import cli, compare, files, run_folder
from train.lib.run.endings import FULL
from train.lib.run.errors import UsageError, last_line
from train.pricing import figures as pricing
from train.regression import figures as regression
from train.teacher import curve

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "workdir",
    None,
    "Folder for figures and tables. Default: figures go into the folder of their run, Table 1 into "
    "the one that contains all the runs; the table of a single run is only printed.",
    flag_values=FLAGS,
)


class PlottedRun(NamedTuple):
    """A run that can be drawn: its folder, its script, and the folder that was typed for it."""

    folder: Path
    script: str
    typed: Path


def figures_of(draw: Callable[[Path, Path], Sequence[Path]]) -> "Drawer":
    """Return a drawer that calls `draw(folder, into)` for each run and prints the paths."""

    def drawer(runs: Sequence[PlottedRun], workdir: Path | None, problems: list[str]) -> int:
        drawn = 0
        taken: dict[Path, Path] = {}  # {where a run was drawn: the run's folder}
        for run in runs:
            into = workdir / run.folder.resolve().name if workdir else run.folder
            if into in taken:
                problems.append(
                    f"{run.folder} would be drawn over {taken[into]}, in {into}: draw it into "
                    "another --workdir"
                )
                continue
            taken[into] = run.folder
            try:
                run_folder.make_folder(into)
                for path in draw(run.folder, into):
                    print(path)
                drawn += 1
            except UsageError as error:
                problems.append(str(error))
            except NOT_DRAWN as error:  # values that no file should hold
                problems.append(f"{run.folder} cannot be drawn: {last_line(error)}")
            except OSError as error:
                if isinstance(error, BrokenPipeError) or error.errno in FULL:
                    raise  # so it is for the other runs
                problems.append(f"{run.folder} cannot be drawn: {last_line(error)}")
        return drawn

    return drawer


def table_1(runs: Sequence[PlottedRun], workdir: Path | None, problems: list[str]) -> int:
    """Print Table 1, and write it where several runs, or --workdir, give it a home.

    A single run is drawn by itself too.
    """
    results = []
    for run in runs:
        try:
            results.append((table1.read(run.folder), run))
        except UsageError as error:
            problems.append(str(error))
    if not results:
        return 0
    try:
        columns = table1.cells(result for result, _ in results)
    except UsageError as error:
        problems.append(str(error))
        return 0
    text = table1.text(columns)
    print(text)
    if len(results) == 1:
        figures_of(run_figure.draw)([run for _, run in results], workdir, problems)
    home = (
        workdir or _home(run.folder for _, run in results) or _home(run.typed for _, run in results)
    )
    if home is None:
        print("\nPrinted only; --workdir=FOLDER keeps it, as table1.md and table1.png")
        return 1
    with files.replacing(home / "table1.md") as file:
        file.write(f"{text}\n".encode())
    table1.draw(columns, home / "table1.png")
    print(f"\n{home / 'table1.md'}\n{home / 'table1.png'}")
    if len(results) > 1 and len({(result.script, result.dataset) for result, _ in results}) == 1:
        try:
            curves.draw(columns, home / "curves.png")
            print(home / "curves.png")
        except UsageError as error:
            problems.append(str(error))
    return 1


def comparison_only(runs: Sequence[PlottedRun], workdir: Path | None, problems: list[str]) -> int:
    """Draw nothing: two runs or more are compared, as those of every script."""
    if len(runs) > 1:
        return len(runs)
    problems += [
        f"{run.folder} is a run of train.{run.script}, which has no figure of its own; give two or "
        "more to compare them"
        for run in runs
    ]
    return 0


# (runs, --workdir, the lines about what is skipped, which it adds to) -> how much it has drawn.
Drawer = Callable[[Sequence[PlottedRun], Path | None, list[str]], int]
DRAWERS: dict[str, Drawer] = {
    "cifar10": table_1,
    "imagenet": table_1,
    "distill": figures_of(distill.draw),
    "pricing": figures_of(pricing.draw),
    "regression": figures_of(regression.draw),
    "forces": figures_of(forces.draw),
    "teacher": figures_of(curve.draw),
    "record": comparison_only,
}
# What drawing raises where a file of a run parses, but holds another run's values.
NOT_DRAWN = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
DRAWN_UNFINISHED = ("teacher",)


def main(typed: Sequence[str | Path], workdir: str | Path | None = None) -> None:
    """Draw every figure and table that the runs in the folders give, and compare them.

    Raises:
      UsageError: nothing was drawn.
    """
    problems: list[str] = []
    runs = find_runs([Path(name) for name in typed], problems)
    into = Path(workdir) if workdir else None
    if into:
        run_folder.make_folder(into)
    drawn = 0
    for drawer in dict.fromkeys(DRAWERS.values()):
        group = [run for run in runs if DRAWERS[run.script] is drawer]
        if group:
            drawn += drawer(group, into, problems)
    for script in DRAWERS:
        folders = [run.folder for run in runs if run.script == script]
        if len(folders) > 1:
            print(f"\n{len(folders)} runs of train.{script}\n{compare.text(folders)}")
    if not drawn:
        raise UsageError("; ".join(problems))
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)


def find_runs(typed: Sequence[Path], problems: list[str]) -> list[PlottedRun]:
    """Return the runs in the folders; add a line to `problems` for each that is none.

    A run that is typed twice counts once.

    Raises:
      UsageError: no folder was typed.
    """
    folders = [path for path in typed if not path.is_file()]
    if not folders:
        typed_instead = f"the file {typed[0]}" if typed else "none"
        raise UsageError(
            f"expected a run's folder, got {typed_instead}: python -m train.plot runs/regression"
        )
    runs, known = [], set()
    for folder in folders:
        try:
            for run in _with_seeds(folder):
                if run.resolve() in known:
                    continue
                known.add(run.resolve())
                try:
                    runs.append(PlottedRun(run, _script(run), folder))
                except UsageError as error:
                    problems.append(str(error))
        except UsageError as error:
            problems.append(str(error))
    return runs


def _with_seeds(folder: Path) -> list[Path]:
    """Return a run's folder itself, or those that --seeds has made in it."""
    if not folder.exists():
        raise UsageError(f"{folder} does not exist: expected a run's folder")
    seeds = sorted(folder.glob("seed*/config.json"))
    if not (folder / "config.json").exists() and not seeds:
        raise UsageError(
            f"{folder} is not a run folder: it has no config.json; give run folders, such as runs/*"
        )
    return [path.parent for path in seeds] or [folder]


def _script(folder: Path) -> str:
    """Return the script that made a run, which is finished where its drawer needs that."""
    script = run_folder.read_config(folder / "config.json").get("script")
    if script not in DRAWERS:
        raise UsageError(f"{folder} is a run of train.{script}: expected {' or '.join(DRAWERS)}")
    if script not in DRAWN_UNFINISHED and not (folder / "summary.json").exists():
        raise UsageError(
            f"{folder} is a run of train.{script} that is not finished: run its command again"
        )
    return script


def _home(folders: Iterable[Path]) -> Path | None:
    """Return the folder that holds all of several folders, if one does."""
    folders = set(folders)
    parents = {folder.absolute().parent: folder.parent for folder in folders}
    return parents.popitem()[1] if len(folders) > 1 and len(parents) == 1 else None


def separate(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return flags and folders.

    >>> separate(["runs/a", "--workdir", "figures", "runs/b"])
    (['--workdir', 'figures'], ['runs/a', 'runs/b'])
    """
    typed: list[str] = []
    folders: list[str] = []
    for argument, is_flag in zip(arguments, cli.are_flags(arguments, FLAGS), strict=True):
        (typed if is_flag else folders).append(argument)
    return typed, folders


if __name__ == "__main__":
    sys.argv[1:], folders = separate(sys.argv[1:])
    cli.run(lambda settings: main(folders, settings.workdir), FLAGS)
