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
from train.lib.run import cli, parameter_server, progress, report, resumable, run_folder, schedule

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


def main(values, task):
    """One run; or, with --seeds, one for each seed in a folder of its own, and their mean."""
    if values.strategy == "parameter_server":
        parameter_server.serve_if_asked()
    if values.placement == "stages":
        _make_devices(values, len(_chosen_cuts(values, task)) + 1)
    folder = cli.workdir(values, leave_out=CHANGEABLE)
    if values.seeds is None:
        run(values, task, folder)
        return
    seeds, summaries = _seeds(values), []
    for seed in seeds:
        values.seed, values.seeds = seed, None
        keras.backend.clear_session()
        summaries.append(run(values, task, folder / f"seed{seed}"))
    print(f"\n{report.over_seeds(folder, seeds, summaries)}")


def _make_devices(values, count):
    """Logical CPUs where this machine has fewer devices than parts."""
    if values["strategy"].present and values.strategy != "none":
        raise cli.UsageError("--placement=stages takes no --strategy: the parts are its devices")
    values.strategy = "none"
    [cpu, *_], gpus = (tf.config.list_physical_devices(kind) for kind in ("CPU", "GPU"))
    if len(gpus) < count and not tf.config.get_logical_device_configuration(cpu):
        each = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [each] * count)


def _seeds(values):
    try:
        seeds = [int(seed) for seed in values.seeds]
    except ValueError:
        seeds = []
    right = seeds and 0 <= min(seeds) <= max(seeds) < 2**32 and len(set(seeds)) == len(seeds)
    if not right or values["seed"].present:
        raise cli.UsageError(
            f"--seeds={','.join(values.seeds)}: expected different whole numbers below "
            f"{2**32}, and no --seed"
        )
    return seeds


def run(values, task, folder):
    """Train, evaluate and export in `folder`; returns what summary.json says."""
    cli.seed_everything(values)
    with run_folder.Run(
        folder, cli.config(values), cli.script().rpartition(".")[2], CHANGEABLE
    ) as run:
        cuts = _chosen_cuts(values, task)
        images = _load(values, task)
        epochs, steps_per_epoch, updates = schedule.length(values, images.steps_per_epoch)
        if steps_per_epoch % values.together:
            raise cli.UsageError(
                f"--together={values.together} does not divide the {steps_per_epoch} steps between "
                "two evaluations: choose another, or other --steps or --evaluations"
            )
        with cli.strategy(values).scope(), cli.usage_errors():
            model = _build(values, task, images, cuts, updates)
        run.add_facts(dataset=images.describe(), cuts=cuts)
        _announce(values, task, run, images, cuts, model)
        with images.named_errors():
            rows = resumable.fit(
                model,
                images.train_stream,
                run,
                epochs,
                steps_per_epoch,
                validation_data=images.eval_dataset(),
                monitor="val_accuracy",
                save_minutes=values.save_minutes,
                callbacks=[progress.Progress(epochs * steps_per_epoch, names=_shown(cuts))],
                verbose=0,
            )
        return _finish(values, task, run, images, cuts, model, rows)


def _chosen_cuts(values, task):
    if values.cuts is None:
        return task.cuts[int(values.splits)]
    if values["splits"].present:
        raise cli.UsageError("--cuts and --splits both say where to cut: give one of them")
    if not values.cuts:
        raise cli.UsageError("--cuts= names no layer: name some, or give --splits=0 for no cut")
    return values.cuts


def _load(values, task):
    return datasets.load(
        values.dataset or None,
        data_dir=values.data_dir,
        batch_size=values.batch_size,
        seed=values.seed,
        num_classes=values.classes,
        **task.images(),
    )


def _build(values, task, images, cuts, updates):
    """The split network, compiled with an optimizer for its parts and one for its critics."""
    net = task.build_net(images.image_size, images.num_classes)
    schedule.add_l2(net, values.l2)
    model = st.DecoupledModel(
        st.split(net, at=cuts),
        critic=task.module(values.method),
        method=values.method,
        gradient_target=values.gradient_target,
        label_weight=values.label_weight,
        placement=None if values.placement == "none" else values.placement,
    )
    rate = schedule.learning_rate(values, updates, task.drops)
    model.compile(
        optimizer=(
            keras.optimizers.Adam(rate)
            if values.optimizer == "adam"
            else keras.optimizers.SGD(rate, momentum=0.9)
        ),
        critic_optimizer=keras.optimizers.Adam(values.critic_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5")],
        critic_losses=(st.losses.L1Norm(), image_flags.GRADIENT_LOSSES[values.gradient_loss]()),
        critic_loss_weights=(1.0, values.gradient_weight),
        critic_updates=values.critic_updates,
        jit_compile=values.jit,
        steps_per_execution=values.together,
    )
    return model


def _announce(values, task, run, images, cuts, model):
    if images.notice:
        print(f"\n*** {images.notice} ***\n")
    if values.placement == "stages":
        print("Every part on a device of its own: no cosines, true gradients are not computed")
    print(
        f"{task.net_name} on {images.name} ({images.train_size} training and {images.eval_size} "
        f"held-out images, {images.num_classes} classes, {images.image_size}x{images.image_size}), "
        f"method {values.method}, cuts {', '.join(cuts) or 'none'}, "
        f"{model.distribute_strategy.num_replicas_in_sync} replica(s), run folder {run.folder}",
        flush=True,
    )


def _shown(cuts):
    """The logs of the progress line."""
    names = {"loss": "loss", "accuracy": "top-1", "val_accuracy": "held-out top-1"}
    return names | {f"cut{k + 1}_cosine": f"cosine {k + 1}" for k in range(len(cuts))}


def _finish(values, task, run, images, cuts, model, rows):
    """Tables, figure, SavedModel and summary.json."""
    if not rows:
        raise cli.UsageError(f"{run.path('metrics.csv')} is gone: choose another --workdir")
    last = rows[-1]
    chance = 1 / images.num_classes
    name = f"{images.name} (drawn, not ImageNet)" if images.notice else images.name
    title = f"{task.net_name} on {name}, {values.method}, {len(cuts)} cuts"
    floors = {"chance": chance}
    if values.pixel_baseline:
        floors["logistic regression on pixels"] = pixel_baseline.pixel_baseline(images)
    report.draw(run.path("figure.png"), title, rows, cuts, floors)
    batch, _ = next(iter(images.eval_dataset()))
    difference = report.export(model, run.path("saved_model"), batch)
    summary = {
        "net": task.net_name,
        "method": values.method,
        "splits": len(cuts),
        "cuts": cuts,
        "dataset": images.describe(),
        "steps": int(last["step"]),
        "top1": last["val_accuracy"],
        "top5": last["val_top5"],
        "floors": floors,
        "seconds": last["seconds"],
        "images_per_second": last["step"] * values.batch_size / last["seconds"],
        "last": last,
        "saved_model_difference": difference,
        "seed": values.seed,
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
