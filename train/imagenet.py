"""ResNet50 trained in parts, on synthetic gradients (section 4.3; the ImageNet columns of Table 1).

    python -m train.imagenet --splits=3

cuts ResNet50 at three places and trains the parts side by side: each but the last learns from a
critic that predicts the network's loss, not from the parts above it. The data is `imagenet2012`
as TFDS has prepared it, or, where there is none, an embedded set of drawn shapes.

Presets: `small` (the default) is sized for two cores and takes five to six minutes; `paper` is the
paper's recipe, for a cluster (200,000 updates of 1,088 images at 224x224; the paper has 66.5 %
top-1 with 3 splits, 72.0 % with 1, 75.0 % with 0). The run folder holds config.json, metrics.csv,
summary.json, figure.png, checkpoints and saved_model; the same command resumes.
"""

import math

import keras
from absl import flags

import sobolev_tf as st
from train.lib import cli, data, pixels, progress, report, resumable, runs

CUTS = {
    0: [],
    1: ["conv3_block4_out"],
    3: ["conv2_block3_out", "conv3_block4_out", "conv4_block6_out"],
}
PRESETS = {
    "small": {
        "colour": False,
        "image_size": 32,
        "batch_size": 32,
        "steps": 480,
        "evaluations": 4,
        "optimizer": "adam",
        "rate": 5e-4,
        "schedule": "cosine",
        "critic_rate": 4e-4,
        "l2": 0.0,
        "gradient_target": "bootstrapped",
        "label_weight": 0.0,
        "branch_scale": 0.2,
        "average": 0.9,
    },
    "paper": {
        "colour": True,
        "image_size": 224,
        "batch_size": 34 * 32,
        "steps": 200_000,
        "evaluations": 100,
        "optimizer": "sgd",
        "rate": 0.1,
        "schedule": "steps",
        "critic_rate": 1e-4,
        "l2": 1e-4,
        "gradient_target": "true",
        "label_weight": 0.0,
        "branch_scale": 1.0,
        "average": 0.99,
    },
}

FLAGS = cli.common_flags(PRESETS)
OWN = {"flag_values": FLAGS}
flags.DEFINE_enum("splits", "3", [str(n) for n in CUTS], "Number of cuts.", **OWN)
flags.DEFINE_list(
    "cuts",
    None,
    "Layers to cut after, instead of --splits: --cuts=conv3_block4_out,conv4_block6_out.",
    **OWN,
)
flags.DEFINE_enum(
    "method", "sobolev", st.decoupled.METHODS, "What the parts below a cut learn from.", **OWN
)
flags.DEFINE_enum(
    "gradient_target",
    None,
    ["bootstrapped", "true"],
    "A critic's gradient target: what arrives from the next part, or full backpropagation.",
    **OWN,
)
flags.DEFINE_string(
    "dataset",
    None,
    "imagenet2012, tiny_imagenet50, shapes, or any data set or directory that TFDS has prepared "
    "with `image` and `label`. Default: imagenet2012 if it is prepared, else shapes.",
    **OWN,
)
flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data; default TFDS_DATA_DIR.", **OWN)
flags.DEFINE_boolean(
    "colour", None, "Distort the colours of training images, as Inception does.", **OWN
)
flags.DEFINE_integer("image_size", None, "Side of the images, in pixels.", 32, **OWN)
flags.DEFINE_integer("batch_size", None, "Images in a step, over all replicas.", 1, **OWN)
flags.DEFINE_integer("evaluations", None, "How often to evaluate when --steps is given.", 1, **OWN)
flags.DEFINE_enum(
    "optimizer", None, ["adam", "sgd"], "The network's: Adam, or SGD with momentum 0.9.", **OWN
)
flags.DEFINE_float("rate", None, "Learning rate of the network.", 0.0, **OWN)
flags.DEFINE_enum(
    "schedule",
    None,
    ["cosine", "steps"],
    "cosine: a warm-up, then down to zero; steps: a tenth after 1/2, 3/4 and 7/8 of the run.",
    **OWN,
)
flags.DEFINE_float("critic_rate", None, "Learning rate of the critics (Adam).", 0.0, **OWN)
flags.DEFINE_float(
    "label_weight",
    None,
    "Weight of the critics' supervision by dL/dy (SM 4.1): every class, not the true one alone.",
    0.0,
    **OWN,
)
flags.DEFINE_float(
    "branch_scale",
    None,
    "Scale at which a residual branch starts (of its last BatchNorm). Below 1 the net starts "
    "shallower, and critics learn its gradient sooner; 0 is Goyal et al. (2017), 1 Keras.",
    0.0,
    **OWN,
)
flags.DEFINE_float(
    "average", None, "Momentum of BatchNorm's averages; short runs need a low one.", 0.0, 1.0, **OWN
)
flags.DEFINE_float("save_minutes", 5, "Time between two checkpoints, at most.", 0.0, **OWN)
flags.DEFINE_boolean(
    "pixel_baseline", False, "Hold logistic regression on the pixels against the result.", **OWN
)
flags.DEFINE_boolean(
    "selection",
    False,
    "With the drawn images: hold out those that recipes are chosen on, not those of the results.",
    **OWN,
)
flags.DEFINE_float("l2", None, "Weight of the squared norm of all kernels.", 0.0, **OWN)


CHANGEABLE = ["data_dir", "pixel_baseline", "save_minutes"]  # may differ when a run goes on


def main():
    cli.seed_everything(FLAGS)
    folder = cli.workdir(FLAGS, leave_out=CHANGEABLE)
    with runs.Run(folder, cli.config(FLAGS), "imagenet", CHANGEABLE) as run:
        cuts = chosen_cuts()
        images = load_data()
        epochs, steps_per_epoch = length(images)
        with cli.strategy(FLAGS).scope(), cli.usage_errors():
            model = build(images.classes, cuts, epochs * steps_per_epoch)
        run.add_facts(dataset=images.describe(), cuts=cuts)
        announce(run, images, cuts, model)
        with images.named_errors():
            rows = resumable.fit(
                model,
                images.train_stream,
                run,
                epochs,
                steps_per_epoch,
                validation_data=images.eval_dataset(),
                monitor="val_accuracy",
                save_minutes=FLAGS.save_minutes,
                callbacks=[progress.Progress(epochs * steps_per_epoch, names=shown(cuts))],
                verbose=0,
            )
        finish(run, images, cuts, model, rows)


def chosen_cuts():
    if FLAGS.cuts is None:
        return CUTS[int(FLAGS.splits)]
    if FLAGS["splits"].present:
        raise cli.UsageError("--cuts and --splits both say where to cut: give one of them")
    return FLAGS.cuts


def load_data():
    name = FLAGS.dataset or data.default_dataset(FLAGS.data_dir)
    return data.load(
        name,
        data_dir=FLAGS.data_dir,
        image_size=FLAGS.image_size,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        colour=FLAGS.colour,
        asked=bool(FLAGS.dataset),
        selection=FLAGS.selection,
    )


def length(images):
    """Epochs and steps an epoch: --epochs passes over the data, or --steps in equal pieces."""
    if FLAGS["epochs"].present and FLAGS["steps"].present:
        raise cli.UsageError("--epochs and --steps both say how long to train: give one of them")
    if FLAGS.epochs:
        return FLAGS.epochs, images.steps_per_epoch
    most = min(FLAGS.evaluations, FLAGS.steps)
    pieces = next(n for n in range(most, 0, -1) if FLAGS.steps % n == 0)
    return pieces, FLAGS.steps // pieces


def build(classes, cuts, steps):
    """The split network, compiled with an optimizer for its parts and one for its critics."""
    net = resnet50(FLAGS.image_size, classes)
    add_l2(net, FLAGS.l2)
    set_batch_norm(net)
    model = st.DecoupledModel(
        st.split(net, at=cuts),
        critic=st.synthetic.imagenet_critic,
        method=FLAGS.method,
        gradient_target=FLAGS.gradient_target,
        label_weight=FLAGS.label_weight,
    )
    model.compile(
        optimizer=(
            keras.optimizers.Adam(learning_rate(steps))
            if FLAGS.optimizer == "adam"
            else keras.optimizers.SGD(learning_rate(steps), momentum=0.9)
        ),
        critic_optimizer=keras.optimizers.Adam(FLAGS.critic_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5")],
        jit_compile=FLAGS.jit,
    )
    return model


def resnet50(image_size, classes):
    return keras.applications.ResNet50(
        weights=None,
        input_shape=(image_size, image_size, 3),
        classes=classes,
        classifier_activation=None,
    )


def add_l2(net, weight):
    """Adds weight * |w|^2 of every kernel to the loss; biases and BatchNorm stay free."""
    for layer in net.layers:
        if hasattr(layer, "kernel"):
            layer.kernel_regularizer = keras.regularizers.L2(weight)
            layer.kernel.regularizer = layer.kernel_regularizer


def set_batch_norm(net):
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = FLAGS.average
            if layer.name.endswith("_3_bn"):
                layer.gamma.assign(FLAGS.branch_scale * keras.ops.ones_like(layer.gamma))


def learning_rate(steps):
    if FLAGS.schedule == "steps":  # The paper's: 100K, 150K and 175K of (presumably) 200K.
        boundaries = [steps // 2, steps * 3 // 4, steps * 7 // 8]
        rates = [FLAGS.rate / 10**k for k in range(4)]
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    warm_up = math.ceil(steps / 20)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(steps - warm_up, 1), warmup_target=FLAGS.rate, warmup_steps=warm_up
    )


def announce(run, images, cuts, model):
    if images.notice:
        print(f"\n*** {images.notice} ***\n")
    print(
        f"ResNet50 on {images.name} ({images.train_size} training and {images.eval_size} held-out "
        f"images, {images.classes} classes, {FLAGS.image_size}x{FLAGS.image_size}), "
        f"method {FLAGS.method}, cuts {', '.join(cuts) or 'none'}, "
        f"{model.distribute_strategy.num_replicas_in_sync} replica(s), run folder {run.folder}",
        flush=True,
    )


def shown(cuts):
    """The logs of the progress line."""
    names = {"loss": "loss", "accuracy": "top-1", "val_accuracy": "held-out top-1"}
    return names | {f"cut{k + 1}_cosine": f"cosine {k + 1}" for k in range(len(cuts))}


def finish(run, images, cuts, model, rows):
    """Tables, figure, SavedModel and summary.json."""
    if not rows:
        raise cli.UsageError(f"{run.path('metrics.csv')} is gone: choose another --workdir")
    last = rows[-1]
    chance = 1 / images.classes
    name = f"{images.name} (drawn, not ImageNet)" if images.notice else images.name
    title = f"ResNet50 on {name}, {FLAGS.method}, {len(cuts)} cuts"
    floors = {"chance": chance}
    if FLAGS.pixel_baseline:
        floors["logistic regression on pixels"] = pixels.pixel_baseline(images)
    report.draw(run.path("figure.png"), title, rows, cuts, floors)
    batch, _ = next(iter(images.eval_dataset()))
    difference = report.export(model, run.path("saved_model"), batch)
    run.write_summary(
        {
            "method": FLAGS.method,
            "splits": len(cuts),
            "cuts": cuts,
            "dataset": images.describe(),
            "steps": int(last["step"]),
            "top1": last["val_accuracy"],
            "top5": last["val_top5"],
            "floors": floors,
            "seconds": last["seconds"],
            "images_per_second": last["step"] * FLAGS.batch_size / last["seconds"],
            "last": last,
            "saved_model_difference": difference,
            **{key: run.config[key] for key in ("commit", "versions")},
        }
    )
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


if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
