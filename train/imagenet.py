"""ResNet50 trained in parts, on synthetic gradients (section 4.3; the ImageNet columns of Table 1).

    python -m train.imagenet --splits=3

cuts ResNet50 at three places and trains the parts side by side: each but the last learns from a
critic that predicts the network's loss, not from the parts above it. The data is `imagenet2012`
as TFDS has prepared it, or, where there is none, an embedded set of drawn shapes.

Presets: `small` (the default) is sized for two cores and takes about five minutes, after which
36 % of the drawn set's held-out images are right (guessing: 10 %); `paper` is the paper's recipe,
for a cluster (200,000 updates of 1,088 images at 224x224; the paper has 66.5 % top-1 with 3 splits,
72.0 % with 1, 75.0 % with 0).

The run folder holds config.json, metrics.csv, summary.json, figure.png, checkpoints and
saved_model; the same command resumes.
"""

import keras
from absl import flags

import sobolev_tf as st
from train.lib.images import experiment, image_flags
from train.lib.run import cli

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
        "branch_scale": 0.2,
        "average": 0.9,
    },
    "paper": experiment.PAPER
    | {
        "colour": True,
        "image_size": 224,
        "batch_size": 34 * 32,
        "steps": 200_000,
        "branch_scale": 1.0,
        "average": 0.99,
    },
}

FLAGS = image_flags.define(
    PRESETS,
    CUTS,
    "imagenet2012, tiny_imagenet50, shapes, or any data set or directory that TFDS has "
    "prepared with `image` and `label`. Default: imagenet2012 if it is prepared, else shapes.",
)
OWN = {"flag_values": FLAGS}
flags.DEFINE_integer("image_size", None, "Side of the images, in pixels.", 32, **OWN)
flags.DEFINE_boolean(
    "colour", None, "Distort the colours of training images, as Inception does.", **OWN
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
flags.DEFINE_boolean(
    "selection",
    False,
    "With the drawn images: hold out those that recipes are chosen on, not those of the results.",
    **OWN,
)


def main(settings):
    return experiment.main(settings, TASK)


def build_net(image_size, classes):
    net = resnet50(image_size, classes)
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = FLAGS.average
            if layer.name.endswith("_3_bn"):
                layer.gamma.assign(FLAGS.branch_scale * keras.ops.ones_like(layer.gamma))
    return net


def resnet50(image_size, classes):
    return keras.applications.ResNet50(
        weights=None,
        input_shape=(image_size, image_size, 3),
        classes=classes,
        classifier_activation=None,
    )


TASK = experiment.Task(
    "ResNet50",
    CUTS,
    build_net=build_net,
    module=lambda method: (
        st.synthetic.direct_module if method == "direct" else st.synthetic.imagenet_critic
    ),
    drops=(1 / 2, 3 / 4, 7 / 8),  # the paper's: 100K, 150K and 175K of (presumably) 200K
    images=lambda: {
        "image_size": FLAGS.image_size,
        "color_distortion": FLAGS.colour,
        "eval_split": "selection" if FLAGS.selection else "validation",
    },
)

if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
