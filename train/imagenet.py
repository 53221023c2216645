"""ResNet50 cut into stages that learn from synthetic gradients (section 4.3; Table 1, ImageNet).

    python -m train.imagenet --splits=3

Every stage but the last learns from a critic, which predicts the network's loss, instead of from
the stages above it. The data is `imagenet2012` if TFDS has prepared it; otherwise the script draws
images of ten shapes.

Preset `small` (the default) takes 2 to 5 minutes on two cores, and reaches 36 to 38 % top-1 on
1,000 held-out images of the drawn shapes (chance: 10 %). `paper` is the paper's recipe: 200,000
steps of 1,088 images, each with 34 updates of the critics. The paper has 66.5 % with 3 cuts, 72.0 %
with 1 and 75.0 % with 0.

The run folder has metrics.csv, summary.json, figure.png and saved_model; the same command resumes.
"""

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
)
from train.lib.run import cli, errors, export, resumable, run_folder, schedule, seeding, strategies
from train.lib.run.settings import Settings

CUTS = {
    0: [],
    1: ["conv3_block4_out"],
    3: ["conv2_block3_out", "conv3_block4_out", "conv4_block6_out"],
}
PRESETS = {
    "small": {
        **image_flags.SMALL,
        "image_size": 32,
        "batch_size": 32,
        "steps": 480,
        "optimizer": "adam",
        "learning_rate": 5e-4,
        "critic_learning_rate": 4e-4,
        "l2": 0.0,
        "residual_gamma_init": 0.2,  # critics learn a shallower net's gradient sooner
        "bn_momentum": 0.9,
    },
    "paper": {
        **image_flags.PAPER,
        "image_size": 224,
        "color_distortion": True,
        "batch_size": 34 * 32,
        "critic_steps": 34,
        "steps": 200_000,
    },
}
LEARNING_RATE_DROPS = (1 / 2, 3 / 4, 7 / 8)  # the paper's, of (presumably) 200,000 steps

FLAGS = image_flags.define(PRESETS, CUTS)
OWN = {"flag_values": FLAGS}
flags.DEFINE_float(
    "residual_gamma_init", 1.0, "Initial gamma of residual branches; 1 is Keras's.", 0.0, **OWN
)
flags.DEFINE_float("bn_momentum", 0.99, "Momentum of BatchNorm's moving averages.", 0.0, 1.0, **OWN)


def resnet50(image_size: int, num_classes: int) -> keras.Model:
    shape = (image_size, image_size, 3)
    return keras.applications.ResNet50(
        weights=None, input_shape=shape, classes=num_classes, classifier_activation=None
    )


def set_batch_norm(net: keras.Model, momentum: float, gamma: float) -> None:
    """Set the momentum of the averages, and the initial scale of the residual branches."""
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
            if layer.name.endswith("_3_bn"):  # a branch's last
                layer.gamma.assign(gamma * keras.ops.ones_like(layer.gamma))


def build_model(
    settings: Settings, images: datasets.Images, cuts: list[str], schedule_steps: int
) -> st.DecoupledModel:
    """Split the net at `cuts`, put a critic at each, and compile."""
    net = resnet50(images.image_size, images.num_classes)
    set_batch_norm(net, settings.bn_momentum, settings.residual_gamma_init)
    optimizer.add_l2(net, settings.l2)
    direct = settings.method == "direct"
    model = st.DecoupledModel(
        st.split(net, at=cuts),
        critic=st.synthetic.direct_module if direct else st.synthetic.imagenet_critic,
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
        folder, settings.stored(), "imagenet", changeable, results=report.RESULTS
    ) as run:
        strategy = strategies.strategy(settings)
        images = datasets.load(
            settings.dataset,
            data_dir=settings.data_dir,
            image_size=settings.image_size,
            batch_size=settings.batch_size,
            seed=settings.seed,
            augmentation=settings.augmentation,
            color_distortion=settings.color_distortion,
            eval_split=settings.eval_split,
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
        report.announce(run, settings, "ResNet50", images, cuts, model)
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
            return report.finish(run, settings, "ResNet50", images, cuts, rows, difference)


def main(settings: Settings) -> None:
    """Train once, or with each of --seeds in a folder of its own."""
    experiment.run(train, settings, CUTS)


if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
