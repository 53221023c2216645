"""Draws figures and tables of finished runs again, from their folders alone.

    python -m train.plot runs/regression            # section 4.1's figures 2 (right), 3 and 5 to 11
    python -m train.plot runs/cifar10-* runs/imagenet-*          # Table 1 (section 4.3)

Figures of train.regression, train.distill (figure 4) and train.teacher (its learning curve, of a
run that is stopped too) go into their run's folder, or, with --workdir, into a folder of its name
there. Runs of train.cifar10 and train.imagenet, one or many, make Table 1 beside the paper's
numbers: printed, and as table1.md and table1.png in --workdir. Runs that differ in their seed
alone, such as those of --seeds=0,1,2, make one cell. Files among the names, such as a table1.md
that a glob has found, are passed over. What one run lacks does not keep the others from being
drawn; the exit code is 2 then.
"""

import sys
from pathlib import Path

from absl import flags

from train.distill import figures as distill
from train.lib.images import table1
from train.lib.run import cli, files, run_folder
from train.regression import figures as regression
from train.teacher import curve

# By the script that config.json names.
DRAWN_BY = {"distill": distill.draw, "regression": regression.draw, "teacher": curve.draw}
GROWING = ("teacher",)  # are drawn before they are finished too
IN_TABLE = ("cifar10", "imagenet")

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "workdir",
    None,
    "Folder for all that is drawn. Default: figures go into the folder of their run, table1.md and "
    "table1.png into the one that holds all the runs; the table of a single run is only printed.",
    flag_values=FLAGS,
)


def main(folders, workdir=None):
    """Draws every figure and table that the runs in `folders` give."""
    named = [Path(each) for each in folders]
    folders = [each for each in named if not each.is_file()]
    if not folders:
        given = f"{named[0]} is a file" if named else "no folder is given"
        raise cli.UsageError(f"{given}: expected a run's: python -m train.plot runs/regression")
    found = [(each, _script(each), folder) for folder in folders for each in _runs(folder)]
    in_table = [each for each, script, _ in found if script in IN_TABLE]
    named_for_it = [folder for _, script, folder in found if script in IN_TABLE]
    columns = table1.cells(table1.read(each) for each in in_table)
    if workdir:
        run_folder.make_folder(Path(workdir))
    failed = []
    for folder, script, _ in found:
        if script in DRAWN_BY:
            try:
                _figures(folder, script, workdir)
            except cli.UsageError as error:
                failed.append(error)
    if columns:
        _table(columns, workdir or _home(in_table) or _home(named_for_it))
    if failed:
        raise cli.UsageError("; ".join(map(str, failed)))


def _figures(folder, script, workdir):
    into = Path(workdir, folder.name) if workdir else folder
    run_folder.make_folder(into)
    for path in DRAWN_BY[script](folder, into):
        print(path)


def _runs(folder):
    """A run's folder itself, or those that --seeds has made in it."""
    if not folder.exists():
        raise cli.UsageError(f"{folder} does not exist: expected a run's folder")
    seeds = sorted(folder.glob("seed*/config.json"))
    if not (folder / "config.json").exists() and not seeds:
        raise cli.UsageError(f"{folder} is not a run: it has no config.json")
    return [path.parent for path in seeds] or [folder]


def _script(folder):
    """The script that made a finished run."""
    script = run_folder.read_config(folder / "config.json").get("script")
    known = (*DRAWN_BY, *IN_TABLE)
    if script not in known:
        raise cli.UsageError(f"{folder} is a run of train.{script}: expected {' or '.join(known)}")
    if script not in GROWING and not (folder / "summary.json").exists():
        raise cli.UsageError(f"{folder} is not finished: run its command again first")
    return script


def _home(folders):
    """The folder that holds all of several folders, if one does."""
    parents = {folder.absolute().parent: folder.parent for folder in folders}
    return parents.popitem()[1] if len(set(folders)) > 1 and len(parents) == 1 else None


def _table(columns, where):
    """Prints Table 1, and writes it to the folder `where`, if there is one."""
    text = table1.text(columns)
    print(text)
    if where is None:
        return print("\nPrinted only; --workdir=FOLDER keeps it, as table1.md and table1.png")
    where = Path(where)
    with files.replacing(where / "table1.md") as file:
        file.write(f"{text}\n".encode())
    table1.draw(columns, where / "table1.png")
    print(f"\n{where / 'table1.md'}\n{where / 'table1.png'}")


if __name__ == "__main__":
    typed = sys.argv[1:]
    sys.argv[1:] = [each for each in typed if each.startswith("-")]
    folders = [each for each in typed if not each.startswith("-")]
    cli.run(lambda settings: main(folders, settings.workdir), FLAGS)
