"""What a run on images prints and leaves behind: announcement, tables, figure, summary."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sobolev_tf as st
from train.lib.images import critic_flags, pixel_baseline, run_figure
from train.lib.images.run_title import data_name, scale
from train.lib.images.share import WHOLE
from train.lib.images.streams import Images
from train.lib.images.table1 import NAMES, count_of_cuts
from train.lib.run import cli, files, identity, schema, summary
from train.lib.run.errors import DamagedError, UsageError, reading
from train.lib.run.progress import format_seconds
from train.lib.run.run_folder import Run
from train.lib.run.settings import Settings
from train.lib.run.text_table import percent, table

RESULTS = ["figure.png", "saved_model"]  # of a run, at its end
SCORES = ("val_accuracy", "val_top5", "accuracy", "top5")
# The logs of a cut, `cut1_cosine` and so on, that the table of diagnostics has.
DIAGNOSTICS = ("loss", "gradient_loss", "cosine", "norm_ratio", "accuracy")
PIXELS = "logistic regression on pixels"  # the baseline of --pixel_baseline
SILENT = 1e-3  # the norm ratio below which a critic predicts no gradient
# Flags that a title has in words, or that change no number.
NOT_IN_TITLE = {
    "workdir", "data_dir", "dataset", "method", "splits", "cuts", "seeds", "strategy",
    "deterministic", "pixel_baseline", "save_minutes", "tensorboard",
}  # fmt: skip


def announce(
    run: Run,
    settings: Settings,
    net: str,
    images: Images,
    cuts: Sequence[str],
    model: st.DecoupledModel,
) -> None:
    """Print what is about to be trained."""
    if images.notice:
        print(f"\n*** {images.notice} ***\n({images.where})\n")
    if settings.placement == "stages":
        print("Each stage is on its own device: true gradients are not computed, so no cosines")
    if unused := critic_flags.without_effect(settings, len(cuts)):
        print(f"No effect here, with method {settings.method}: {', '.join(unused)}")
    replicas = model.distribute_strategy.num_replicas_in_sync
    print(
        f"{net} on {images.name} ({images.train_size} training and {images.eval_size} held-out "
        f"images, {images.num_classes} classes, {images.image_size}x{images.image_size}, "
        f"augmentation {images.augmentation}), "
        f"method {settings.method}, cuts {', '.join(cuts) or 'none'}, "
        f"{replicas} replica(s), run folder {run.folder}",
        flush=True,
    )


def finish(
    run: Run,
    settings: Settings,
    net: str,
    images: Images,
    cuts: Sequence[str],
    rows: Sequence[Mapping[str, float]],
    saved_model_difference: float,
) -> dict[str, Any]:
    """Write summary.json and figure.png, and print the tables.

    Args:
      run: the run folder.
      settings: those of the run.
      net: the network's name, for titles.
      images: the data set.
      cuts: names of the layers.
      rows: those of metrics.csv.
      saved_model_difference: what `export.save` returned.

    Returns:
      The summary.

    Raises:
      UsageError: metrics.csv was removed.
    """
    if not rows:
        raise UsageError(f"{run.path('metrics.csv')} is gone: choose another --workdir")
    last = rows[-1]
    with reading(run.path("metrics.csv"), "choose another --workdir", "is damaged"):
        schema.check_columns(last, SCORES)
    baselines = {"chance": 1 / images.num_classes} | _measured_before(run)
    name = data_name(images.describe())
    what = f"{net} on {name}, {NAMES[settings.method]}, {count_of_cuts(len(cuts))}"
    title = "\n".join([
        what,
        f"{scale(settings.values, images.describe(), int(last['step']))}, one seed",
        *textwrap.wrap(" ".join(flags_of_title(settings)), 70),
    ])  # fmt: skip
    results = summary.head(
        run,
        what=what,
        name="val_accuracy",
        value=last["val_accuracy"],
        unit="share",
        seconds=last["seconds"],
    )
    results |= {
        "net": net,
        "method": settings.method,
        "title": title,
        "splits": len(cuts),
        "cuts": list(cuts),
        "dataset": images.describe(),
        "steps": int(last["step"]),
        "top1": last["val_accuracy"],
        "top5": last["val_top5"],
        "baselines": baselines,
        "images_per_second": last["step"] * settings.batch_size / last["seconds"],
        "last": dict(last),
        "saved_model_difference": saved_model_difference,
        "seed": settings.seed,
    }
    run.write_summary({**results, "run": run.id})
    if settings.pixel_baseline:  # after the summary, which then outlives its failure
        share = pixel_baseline.pixel_baseline(dataclasses.replace(images, share=WHOLE))
        baselines[PIXELS] = share
        run.write_summary({**results, "run": run.id})
    run_figure.draw(run.folder)
    print(f"\n{title}\n{scores_table(last, baselines)}")
    if diagnostics := diagnostics_table(cuts, last):
        print(f"\n{diagnostics}")
    if silent := silent_critics_text(cuts, last):
        print(f"\n{silent}")
    print(f"\n{next_steps_text(run, results)}")
    if images.notice:
        print(f"\n*** {images.notice} ***")
    return results


def _measured_before(run: Run) -> dict[str, float]:
    """Return the baseline that --pixel_baseline has given this run before, if it has."""
    path = run.path("summary.json")
    try:
        with reading(path, "it is written again"):
            before = files.read_json(path)
            identity.check(before, {"run": run.id})
            shares = run_figure.own_baselines(before)
    except DamagedError:  # or there is none yet
        return {}
    return {name: share for name, share in shares.items() if name == PIXELS}


def flags_of_title(settings: Settings) -> list[str]:
    """Return the flags that were typed, as far as they may change a number, and the seed."""
    names = settings.typed - NOT_IN_TITLE
    if settings.seed:
        names |= {"seed"}
    return [f"--{name}={settings.values[name]}" for name in sorted(names)]


def scores_table(row: Mapping[str, float], baselines: Mapping[str, float]) -> str:
    """Return accuracies in per cent, by the names of the logs, and the baselines below."""
    scores = {name: row[name] for name in SCORES} | dict(baselines)
    return table(["", "result"], [[name, percent(share)] for name, share in scores.items()])


def diagnostics_table(cuts: Sequence[str], row: Mapping[str, float]) -> str | None:
    """Return the diagnostics of each cut in one row of metrics.csv; None if there are none.

    >>> print(diagnostics_table(["conv2_out"], {"cut1_cosine": 0.25, "cut1_norm_ratio": 0.5}))
                     cosine norm_ratio
    cut1 (conv2_out)   0.25        0.5
    """
    measured = [name for name in DIAGNOSTICS if f"cut1_{name}" in row]
    if not measured:
        return None
    rows = [
        [f"cut{k} ({cut})", *(f"{row[f'cut{k}_{name}']:.3g}" for name in measured)]
        for k, cut in enumerate(cuts, 1)
    ]
    return table(["", *measured], rows)


def silent_critics_text(cuts: Sequence[str], row: Mapping[str, float]) -> str | None:
    """Name the cuts in a row of metrics.csv whose critics predict no gradient; None without any.

    >>> row = {"cut1_norm_ratio": 1e-5, "cut2_norm_ratio": 0.5}
    >>> print(silent_critics_text(["conv2_out", "conv5_out"], row))
    Critics that predict no gradient (below 0.001 of the true one): cut1 (conv2_out).
    The stage below such a critic did not learn: try --gradient_loss=mae in another --workdir
    """
    silent = [
        f"cut{k} ({cut})"
        for k, cut in enumerate(cuts, 1)
        if row.get(f"cut{k}_norm_ratio", 1.0) < SILENT
    ]
    if not silent:
        return None
    return (
        f"Critics that predict no gradient (below {SILENT} of the true one): {', '.join(silent)}.\n"
        "The stage below such a critic did not learn: try --gradient_loss=mae in another --workdir"
    )


def next_steps_text(run: Run, results: Mapping[str, Any]) -> str:
    """Return where things are, how long they took, and what to do next."""
    took, rate = format_seconds(results["seconds"]), results["steps"] / results["seconds"]
    return "\n".join([
        f"Training took {took}: {rate:.3g} steps/s with evaluation",
        f"Run folder: {run.folder}: config.json, metrics.csv, summary.json, checkpoints",
        f"Figure: {run.path('figure.png')}",
        f"SavedModel: {run.path('saved_model')} (its outputs differ from the model's by "
        f"{results['saved_model_difference']:.1g})",
        cli.next_command("make Table 1 of this and other runs", "train.plot", run.folder, "RUN"),
    ])  # fmt: skip


def over_seeds(
    folder: str | Path, seeds: Sequence[int], summaries: Sequence[Mapping[str, Any]]
) -> None:
    """Write seeds.json and print it: mean and sample deviation of the accuracy."""
    scores = np.array([run_summary["top1"] for run_summary in summaries])
    deviation = float(scores.std(ddof=1)) if len(scores) > 1 else None
    facts = {key: summaries[0][key] for key in ("net", "method", "splits", "steps")}
    facts |= {
        "dataset": summaries[0]["dataset"]["name"],
        "seeds": list(seeds),
        "top1": scores.tolist(),
        "mean": float(scores.mean()),
        "deviation": deviation,
    }
    files.write_json(Path(folder, "seeds.json"), facts)
    spread = "" if deviation is None else f" ± {100 * deviation:.1f}"
    print(
        f"\n{facts['method']}: val_accuracy {100 * scores.mean():.1f}{spread} % over seeds "
        f"{list(seeds)}"
    )
