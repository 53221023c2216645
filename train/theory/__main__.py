"""The theory of section 3 and SM 1, as numbers and figures.

    python -m train.theory

builds the nets of the proofs, measures their errors, and counts the points that determine a
polynomial, a Gaussian density and a linear map, with and without slopes. Prints a table for each
statement and draws four figures (one is the paper's figure 2, left). Takes seconds; nothing is
trained, and nothing is random but fixed examples.
"""

from pathlib import Path

from absl import flags

from train.lib.run import cli, run_folder, text_table
from train.lib.run.settings import Settings
from train.theory import figures, tables

FLAGS = flags.FlagValues()
flags.DEFINE_string("workdir", "runs/theory", "Folder for the figures.", flag_values=FLAGS)


def main(settings: Settings) -> None:
    """Print every table, and draw every figure."""
    folder = Path(settings.workdir)
    run_folder.make_folder(folder)
    run_folder.check_places(folder, figures.NAMES)
    for table in tables.all_tables():
        print(f"{table.title}\n{text_table.table(table.header, table.rows)}\n", flush=True)
    for path in figures.draw(folder):
        print(f"Figure: {path}")
    print(cli.next_command("learn the paper's seven functions, 12 minutes", "train.regression"))


if __name__ == "__main__":
    cli.run(main, FLAGS)
