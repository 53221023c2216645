"""A network trained in parts on images: what the scripts of section 4.3 share, but for flags.

    TASK = parts.Task("ResNet50", CUTS, default_dataset=..., build_net=..., module=..., ...)
    FLAGS = part_flags.define(PRESETS, CUTS, dataset_help)

    if __name__ == "__main__":
        cli.run(lambda: parts.main(FLAGS, TASK), FLAGS, PRESETS)

A script adds flags of its own, and says with its presets what the paper and two cores take.
"""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

import sobolev_tf as st
from train.lib.images import datasets, image_flags, pixel_baseline
from train.lib.run import (
    cli,
    errors,
    parameter_server,
    progress,
    report,
    resumable,
    run_folder,
    schedule,
    seeding,
    strategies,
)

PAPER = {  # what the paper's two recipes have in common
    "evaluations": 100,
    "optimizer": "sgd",
    "rate": 0.1,
    "schedule": "steps",
    "critic_rate": 1e-4,
    "l2": 1e-4,
    "gradient_target": "true",
}
CHANGEABLE = ["data_dir", "pixel_baseline", "save_minutes"]  # may differ when a run goes on


@dataclasses.dataclass(frozen=True)
class Task:
    """What one script trains.

    net_name: in titles. cuts: the layers of --splits=N, by N.
    build_net: (image_size, classes) -> Keras model that gives logits. module: method -> what
    builds the module at a cut, see `st.DecoupledModel`. drops: where --schedule=steps divides the
    rate by ten, in shares of all updates. images: () -> arguments of `data.load` that are this
    script's own.
    """

    net_name: str
    cuts: dict
    build_net: Callable
    module: Callable
    drops: tuple
    images: Callable


def main(settings, task):
    """One run; or, with --seeds, one for each seed in a folder of its own, and their mean."""
    if settings.strategy == "parameter_server":
        parameter_server.serve_if_asked()
    strategies.make_logical_devices(settings.devices)
    if settings.placement == "stages":
        settings = _on_stages(settings, len(_chosen_cuts(settings, task)) + 1)
    folder = cli.workdir(settings, leave_out=CHANGEABLE)
    if settings.seeds is None:
        run(settings, task, folder)
        return
    seeds, summaries = _seeds(settings), []
    for seed in seeds:
        keras.backend.clear_session()
        one = settings.replace(seed=seed, seeds=None)
        summaries.append(run(one, task, folder / f"seed{seed}"))
    print(f"\n{report.over_seeds(folder, seeds, summaries)}")


def _on_stages(settings, count):
    """Settings for a device for each part: logical CPUs where devices are too few."""
    if settings.devices or ("strategy" in settings.given and settings.strategy != "none"):
        raise cli.UsageError(
            "--placement=stages takes no --strategy and no --devices: each part has a device"
        )
    if len(tf.config.list_physical_devices("GPU")) < count:
        strategies.make_logical_devices(count)
    return settings.replace(strategy="none")


def _seeds(settings):
    try:
        seeds = [int(seed) for seed in settings.seeds]
    except ValueError:
        seeds = []
    right = seeds and 0 <= min(seeds) <= max(seeds) < 2**32 and len(set(seeds)) == len(seeds)
    if not right or "seed" in settings.given:
        raise cli.UsageError(
            f"--seeds={','.join(settings.seeds)}: expected different whole numbers below "
            f"{2**32}, and no --seed"
        )
    return seeds


def run(settings, task, folder):
    """Train, evaluate and export in `folder`; returns what summary.json says."""
    seeding.seed_everything(settings)
    with run_folder.Run(
        folder, settings.stored(), cli.script().rpartition(".")[2], CHANGEABLE
    ) as run:
        cuts = _chosen_cuts(settings, task)
        images = _load(settings, task)
        epochs, steps_per_epoch, updates = schedule.length(settings, images.steps_per_epoch)
        if steps_per_epoch % settings.together:
            raise cli.UsageError(
                f"--together={settings.together} does not divide the {steps_per_epoch} steps "
                "between two evaluations: choose another, or other --steps or --evaluations"
            )
        with strategies.strategy(settings).scope(), errors.usage_errors():
            model = _build(settings, task, images, cuts, updates)
        run.add_facts(dataset=images.describe(), cuts=cuts)
        _announce(settings, task, run, images, cuts, model)
        with images.named_errors():
            rows = resumable.fit(
                model,
                images.train_stream,
                run,
                epochs,
                steps_per_epoch,
                validation_data=images.eval_dataset(),
                saving=resumable.Saving(settings.save_minutes, monitor="val_accuracy"),
                callbacks=[progress.Progress(epochs * steps_per_epoch, names=_shown(cuts))],
                verbose=0,
            )
        return _finish(settings, task, run, images, cuts, model, rows)


def _chosen_cuts(settings, task):
    if settings.cuts is None:
        return task.cuts[int(settings.splits)]
    if "splits" in settings.given:
        raise cli.UsageError("--cuts and --splits both say where to cut: give one of them")
    if not settings.cuts:
        raise cli.UsageError("--cuts= names no layer: name some, or give --splits=0 for no cut")
    return list(settings.cuts)


def _load(settings, task):
    return datasets.load(
        settings.dataset or None,
        data_dir=settings.data_dir,
        batch_size=settings.batch_size,
        seed=settings.seed,
        num_classes=settings.classes,
        **task.images(),
    )


def _build(settings, task, images, cuts, updates):
    """The split network, compiled with an optimizer for its parts and one for its critics."""
    net = task.build_net(images.image_size, images.num_classes)
    schedule.add_l2(net, settings.l2)
    model = st.DecoupledModel(
        st.split(net, at=cuts),
        critic=task.module(settings.method),
        method=settings.method,
        gradient_target=settings.gradient_target,
        label_weight=settings.label_weight,
        placement=None if settings.placement == "none" else settings.placement,
    )
    rate = schedule.learning_rate(settings, updates, task.drops)
    model.compile(
        optimizer=(
            keras.optimizers.Adam(rate)
            if settings.optimizer == "adam"
            else keras.optimizers.SGD(rate, momentum=0.9)
        ),
        critic_optimizer=keras.optimizers.Adam(settings.critic_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5")],
        critic_losses=(st.losses.L1Norm(), image_flags.GRADIENT_LOSSES[settings.gradient_loss]()),
        critic_loss_weights=(1.0, settings.gradient_weight),
        critic_updates=settings.critic_updates,
        jit_compile=settings.jit_compile,
        steps_per_execution=settings.together,
    )
    return model


def _announce(settings, task, run, images, cuts, model):
    if images.notice:
        print(f"\n*** {images.notice} ***\n")
    if settings.placement == "stages":
        print("Every part on a device of its own: no cosines, true gradients are not computed")
    print(
        f"{task.net_name} on {images.name} ({images.train_size} training and {images.eval_size} "
        f"held-out images, {images.num_classes} classes, {images.image_size}x{images.image_size}), "
        f"method {settings.method}, cuts {', '.join(cuts) or 'none'}, "
        f"{model.distribute_strategy.num_replicas_in_sync} replica(s), run folder {run.folder}",
        flush=True,
    )


def _shown(cuts):
    """The logs of the progress line."""
    names = {"loss": "loss", "accuracy": "top-1", "val_accuracy": "held-out top-1"}
    return names | {f"cut{k + 1}_cosine": f"cosine {k + 1}" for k in range(len(cuts))}


def _finish(settings, task, run, images, cuts, model, rows):
    """Tables, figure, SavedModel and summary.json."""
    if not rows:
        raise cli.UsageError(f"{run.path('metrics.csv')} is gone: choose another --workdir")
    last = rows[-1]
    chance = 1 / images.num_classes
    name = f"{images.name} (drawn, not ImageNet)" if images.notice else images.name
    title = f"{task.net_name} on {name}, {settings.method}, {len(cuts)} cuts"
    floors = {"chance": chance}
    if settings.pixel_baseline:
        floors["logistic regression on pixels"] = pixel_baseline.pixel_baseline(images)
    report.draw(run.path("figure.png"), title, rows, cuts, floors)
    batch, _ = next(iter(images.eval_dataset()))
    difference = report.export(model, run.path("saved_model"), batch)
    summary = {
        "net": task.net_name,
        "method": settings.method,
        "splits": len(cuts),
        "cuts": cuts,
        "dataset": images.describe(),
        "steps": int(last["step"]),
        "top1": last["val_accuracy"],
        "top5": last["val_top5"],
        "floors": floors,
        "seconds": last["seconds"],
        "images_per_second": last["step"] * settings.batch_size / last["seconds"],
        "last": last,
        "saved_model_difference": difference,
        "seed": settings.seed,
        **{key: run.config[key] for key in ("commit", "versions")},
    }
    run.write_summary(summary)
    scores = [
        ["held out", report.percent(last["val_accuracy"]), report.percent(last["val_top5"])],
        ["training", report.percent(last["accuracy"]), report.percent(last["top5"])],
        *([name, report.percent(top1), ""] for name, top1 in floors.items()),
    ]
    print(f"\n{title}\n{report.table(['', 'top-1', 'top-5'], scores)}")
    if diagnostics := report.diagnostics_table(cuts, last):
        print(f"\n{diagnostics}")
    print(
        f"\nFigure: {run.path('figure.png')}\nSavedModel: {run.path('saved_model')} (answers as "
        f"the model does, to {difference:.1g})"
    )
    if images.notice:
        print(f"\n*** {images.notice} ***")
    return summary
