"""A convolutional net trained in parts on CIFAR-10 (section 4.3; the CIFAR-10 column of Table 1).

    python -m train.cifar10 --method=sobolev --data_dir=...

cuts the paper's net before each of its stride-2 convolutions and trains the four parts side by
side. One line makes a cell of Table 1: --method=noprop, direct, vfbn, critic, sobolev, or
backprop. The data is `cifar10` as TFDS has prepared it.

Presets: `small` (the default) is sized for two cores, net and modules at a quarter of the width
and four passes over the data: sobolev gets 68 % of the held-out images right, after 20 minutes of
one busy core; backprop 76, noprop 49 (BUILD_NOTES.md, section 3). `paper` is the paper's recipe,
100,000 updates of 320 images (the paper has 93.5 % for sobolev, 94.3 % for backprop).

The run folder holds config.json, metrics.csv, summary.json, figure.png, checkpoints and
saved_model; the same command resumes.
"""

import functools

from absl import flags

import sobolev_tf as st
from train.lib.images import experiment, image_flags, tfds_images
from train.lib.run import cli

CUTS = {0: [], 1: ["conv5_out"], 3: ["conv2_out", "conv5_out", "conv8_out"]}
PRESETS = {
    "small": {
        "width": 0.25,
        "batch_size": 128,
        "steps": 1560,
        "evaluations": 4,
        "optimizer": "sgd",
        "rate": 0.05,
        "schedule": "cosine",
        "critic_rate": 1e-4,
        "l2": 1e-4,
        "gradient_target": "bootstrapped",
        "augmentation": "flip",
    },
    "paper": experiment.PAPER
    | {
        "width": 1.0,
        "batch_size": 10 * 32,
        "steps": 100_000,
        "augmentation": "none",
    },
}

FLAGS = image_flags.define(
    PRESETS,
    CUTS,
    "cifar10, or any data set or directory of images that TFDS has prepared.",
)
OWN = {"flag_values": FLAGS}
FLAGS.set_default("dataset", "cifar10")
flags.DEFINE_float("width", None, "Channels of the net, as a share of the paper's.", 1 / 64, **OWN)
flags.DEFINE_float(
    "module_width",
    None,
    "Channels of the modules at the cuts, as a share of the paper's 128; default: --width.",
    1 / 128,
    **OWN,
)
flags.DEFINE_enum(
    "direct_start",
    *("zeros", ["zeros", "glorot_uniform"]),
    "Where the last layer of --method=direct's modules starts.",
    **OWN,
)
flags.DEFINE_enum(
    "augmentation",
    None,
    list(tfds_images.AUGMENTATIONS),
    "Of training images; pad_crop shifts and flips, inception crops. The paper does not say.",
    **OWN,
)


def main(settings):
    return experiment.main(settings, TASK)


def module(method):
    """What builds the module at a cut, for a method."""
    share = FLAGS.width if FLAGS.module_width is None else FLAGS.module_width
    channels = max(1, round(share * 128))
    if method == "direct":
        own = {"channels": channels, "start": FLAGS.direct_start}
        return functools.partial(st.synthetic.direct_module, **own)
    return functools.partial(st.synthetic.cifar_critic, channels=channels)


TASK = experiment.Task(
    "The paper's net",
    CUTS,
    build_net=lambda size, classes: st.nets.cifar10(classes, FLAGS.width, size),
    module=module,
    drops=(0.4, 0.6, 0.8),  # the paper's: 40K, 60K and 80K of (presumably) 100K
    images=lambda: {"image_size": 32, "augmentation": FLAGS.augmentation},
)

if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
