"""A convolutional net cut into stages that learn from synthetic gradients (section 4.3; Table 1).

    python -m train.cifar10 --method=sobolev

Each --method is a row of Table 1: noprop, direct, vfbn, critic, sobolev, or backprop. The net is
the paper's, cut before its stride-2 convolutions. The data is `cifar10`, as TFDS prepares it.

Preset `small` (the default) has a quarter of the channels and makes four epochs, in 4 to 20
minutes on a quiet machine. Held-out top-1: sobolev 68.5 %, backprop 76.0 %, noprop 47.2 %. `paper`
is the paper's recipe: 100,000 steps of 320 images, each with 10 critic updates. Crops and flips are
our choice, since the paper does not mention any. The paper has 93.5 % with sobolev and 94.3 % with
backprop.

The run folder has metrics.csv, summary.json, figure.png and saved_model; the same command resumes.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import keras
from absl import flags

import sobolev_tf as st
from train.lib.images import (
    callbacks,
    critic_flags,
    datasets,
    experiment,
    image_flags,
    optimizer,
    pixel_baseline,
    report,
    share,
    widths,
)
from train.lib.run import cli, errors, export, resumable, run_folder, schedule, seeding, strategies
from train.lib.run.settings import Settings

CUTS = {0: [], 1: ["conv5_out"], 3: ["conv2_out", "conv5_out", "conv8_out"]}
PRESETS = {
    "small": {
        **image_flags.SMALL,
        "augmentation": "flip",
        "width_multiplier": 0.25,
        "batch_size": 128,
        "steps": 1560,
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "critic_learning_rate": 1e-4,
        "l2": 1e-4,
    },
    "paper": {
        **image_flags.PAPER,
        "augmentation": "pad_crop",
        "width_multiplier": 1.0,
        "batch_size": 10 * 32,
        "critic_steps": 10,
        "steps": 100_000,
    },
}
LEARNING_RATE_DROPS = (0.4, 0.6, 0.8)  # the paper's, of (presumably) 100,000 steps

NOT_HERE = ["image_size", "color_distortion", "eval_split"]
FLAGS = image_flags.define(PRESETS, CUTS, dataset="cifar10", without=NOT_HERE)
OWN = {"flag_values": FLAGS}
flags.DEFINE_float("width_multiplier", None, "The net's channels over the paper's.", 1 / 64, **OWN)
flags.DEFINE_float(
    "critic_width_multiplier",
    None,
    "The critics' channels over the paper's 128. Default: --width_multiplier.",
    1 / 128,
    **OWN,
)
flags.DEFINE_enum(
    "direct_init",
    "zeros",
    ["zeros", "glorot_uniform"],
    "Initial weights of the last layer of the modules of --method=direct.",
    **OWN,
)


def make_critic(settings: Settings) -> Callable[..., keras.Model]:
    """Return the function that builds what stands at a cut, for `st.DecoupledModel`."""
    share = settings.critic_width_multiplier or settings.width_multiplier
    channels = max(1, round(share * 128))
    if settings.method == "direct":
        build = st.synthetic.direct_module
        return functools.partial(build, channels=channels, initializer=settings.direct_init)
    return functools.partial(st.synthetic.cifar_critic, channels=channels)


def build_model(
    settings: Settings, images: datasets.Images, cuts: list[str], schedule_steps: int
) -> st.DecoupledModel:
    """Split the net at `cuts`, put a critic at each, and compile."""
    net = st.nets.cifar10(images.num_classes, settings.width_multiplier, images.image_size)
    optimizer.add_l2(net, settings.l2)
    model = st.DecoupledModel(
        st.split(net, at=cuts),
        critic=make_critic(settings),
        method=settings.method,
        gradient_target=settings.gradient_target,
        placement=None if settings.placement == "none" else settings.placement,
    )
    model.compile(
        optimizer=optimizer.make_optimizer(settings, schedule_steps, LEARNING_RATE_DROPS),
        critic_optimizer=keras.optimizers.Adam(settings.critic_learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5")],
        jit_compile=settings.jit_compile,
        steps_per_execution=settings.steps_per_execution,
        **critic_flags.compile_options(settings),
    )
    return model


def train(settings: Settings, cuts: list[str], folder: Path) -> dict:
    """Train, evaluate and export in `folder`; return the content of summary.json."""
    seeding.seed_everything(settings)
    changeable = image_flags.FLAGS_THAT_MAY_CHANGE
    with run_folder.Run(
        folder, settings.stored(), "cifar10", changeable, results=report.RESULTS
    ) as run:
        strategy = strategies.strategy(settings)
        images = datasets.load(
            settings.dataset,
            data_dir=settings.data_dir,
            image_size=32,
            batch_size=settings.batch_size,
            seed=settings.seed,
            augmentation=settings.augmentation,
            num_classes=settings.num_classes,
            share=share.of_worker(strategy),
        )
        images.refuse_small_rest(strategy.num_replicas_in_sync)
        if settings.pixel_baseline:
            pixel_baseline.refuse_too_large(images)
        length = schedule.length(settings, images.steps_per_epoch)
        with strategy.scope(), errors.usage_errors():
            model = build_model(settings, images, cuts, length.schedule_steps)
        run.add_facts(dataset=images.describe(), cuts=cuts, augmentation=images.augmentation)
        report.announce(run, settings, "The paper's net", images, cuts, model)
        with images.named_errors():
            rows = resumable.fit(
                model,
                images.train_stream,
                run,
                length.epochs,
                length.steps_per_epoch,
                validation_data=images.eval_dataset(),
                saving=resumable.Saving(settings.save_minutes, monitor="val_accuracy"),
                callbacks=callbacks.make_callbacks(settings, run, cuts, length.steps),
                verbose=0,
            )
            difference = export.save(model, run.path("saved_model"), images.first_eval_batch())
            return report.finish(run, settings, "The paper's net", images, cuts, rows, difference)


def main(settings: Settings) -> None:
    """Train once, or with each of --seeds in a folder of its own."""
    widths.refuse_too_wide(settings)
    experiment.run(train, settings, CUTS)


if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
