"""Draws a run's figures again, from its folder alone.

    python -m train.plot runs/regression [RUN...]

What a run's figures are, its script knows: `train.regression` draws section 4.1's figures 2
(right), 3 and 5 to 11, `train.distill` figure 4.
"""

import sys
from pathlib import Path

from absl import flags

from train.distill import figures as distill
from train.lib import cli, runs
from train.regression import figures as regression

DRAWN_BY = {
    "distill": distill.draw,
    "regression": regression.draw,
}  # by the script that config.json names


def main(folders):
    if not folders:
        raise cli.UsageError("name a run folder: python -m train.plot runs/regression")
    for folder in map(Path, folders):
        if not (folder / "config.json").exists():
            raise cli.UsageError(f"{folder} is not a run: it has no config.json")
        script = runs.read_config(folder / "config.json").get("script")
        if script not in DRAWN_BY:
            raise cli.UsageError(
                f"{folder} is a run of train.{script}: expected one of {', '.join(DRAWN_BY)}"
            )
        if not (folder / "summary.json").exists():
            raise cli.UsageError(f"{folder} is not finished: run its command again first")
        for path in DRAWN_BY[script](folder):
            print(path)


if __name__ == "__main__":
    typed = sys.argv[1:]
    sys.argv[1:] = [each for each in typed if each.startswith("-")]
    cli.run(lambda: main([each for each in typed if not each.startswith("-")]), flags.FlagValues())
