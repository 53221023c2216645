"""From checked flags to trained networks: one, or one for each of --seeds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from train.lib.images import devices, image_flags, report
from train.lib.run import cli, run_folder, strategies, workers
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings


def run(
    train: Callable[[Settings, list[str], Path], dict[str, Any]],
    settings: Settings,
    cuts: image_flags.Cuts,
) -> None:
    """Train once, or with each of --seeds in a folder of its own.

    Args:
      train: of settings, layers to cut after, and a run folder; returns its summary.
      settings: those of the command line.
      cuts: the layers of --splits.
    """
    image_flags.check(settings)
    layers = image_flags.chosen_cuts(settings, cuts)
    settings = devices.prepare(settings, num_stages=len(layers) + 1)
    folder = cli.workdir(settings, leave_out=image_flags.FLAGS_THAT_MAY_CHANGE)
    if settings.strategy != "multi_worker":
        _train_all(train, settings, layers, folder)
        return
    with workers.output(strategies.strategy(settings), folder) as folder:
        _train_all(train, settings, layers, folder)


def _train_all(train, settings, layers, folder):
    if settings.seeds is None:
        train(settings, layers, folder)
        return
    if (folder / "config.json").exists():
        raise UsageError(
            f"{folder} is one run, and --seeds makes several: choose another --workdir"
        )
    run_folder.check_places(folder, ["seeds.json"])
    changeable = [*image_flags.FLAGS_THAT_MAY_CHANGE, "seed", "seeds"]
    for path in sorted(folder.glob("seed*/config.json")):
        config = run_folder.read_config(path)
        run_folder.compare(
            config["flags"], settings.stored(), changeable, folder, config.get("script")
        )
    summaries = []
    for seed in settings.seeds:
        keras.backend.clear_session()
        one = settings.replace(seed=seed, seeds=None)
        summaries.append(train(one, layers, folder / f"seed{seed}"))
    report.over_seeds(folder, settings.seeds, summaries)
