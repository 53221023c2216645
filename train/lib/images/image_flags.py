"""The flags that the scripts of section 4.3 share, and the combinations that they refuse."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from absl import flags

import sobolev_tf as st
from train.lib.images import datasets, tfds_images
from train.lib.run import cli
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings

SMALL: dict[str, Any] = {  # what both scripts' presets for two cores have in common
    "num_evals": 4,
    "schedule": "cosine",
    "gradient_target": "bootstrapped",
}
PAPER: dict[str, Any] = {  # and those of the paper's recipes
    "num_evals": 100,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "schedule": "steps",
    "critic_learning_rate": 1e-4,
    "l2": 1e-4,
    "gradient_target": "true",
}
FLAGS_THAT_MAY_CHANGE = ("data_dir", "pixel_baseline", "save_minutes")  # when a run is resumed
GRADIENT_LOSSES = {
    "l1": st.losses.L1Norm,
    "norm": st.losses.Norm,
    "squared": st.losses.SquaredNorm,
    "relative": st.losses.RelativeNorm,
}
Cuts = Mapping[int, list[str]]  # {number of cuts: the layers to cut after}


class Choice(flags.ArgumentParser):
    """A parser of one of a few whole numbers."""

    def __init__(self, *choices: int):
        super().__init__()
        self.enum_values = [str(choice) for choice in choices]

    def parse(self, argument: str | int) -> int:
        if str(argument) not in self.enum_values:
            raise ValueError(f"expected {' or '.join(self.enum_values)}")
        return int(argument)

    def flag_type(self) -> str:
        return "int"


class Seeds(flags.ArgumentParser):
    """A parser of seeds, separated by commas."""

    syntactic_help = f"different whole numbers below {2**32}, such as 0,1,2"

    def parse(self, argument: str | Sequence[int]) -> list[int]:
        texts = argument.split(",") if isinstance(argument, str) else argument
        seeds = [int(text) for text in texts]
        if not 0 <= min(seeds) <= max(seeds) < 2**32 or len(set(seeds)) < len(seeds):
            raise ValueError(f"expected {self.syntactic_help}")
        return seeds


def define(
    presets: Mapping[str, Mapping[str, Any]],
    cuts: Cuts,
    dataset: str | None = None,
    without: Sequence[str] = (),
) -> flags.FlagValues:
    """Define the flags of a script that trains a split network on images.

    Args:
      presets: {name of a preset: the flags that it sets}.
      cuts: the layers of --splits, see `chosen_cuts`.
      dataset: default of --dataset; None is imagenet2012 where it is prepared, else shapes.
      without: flags that the script does not have.

    Returns:
      New flags, to which the script adds its own.
    """
    values = cli.common_flags(presets)
    own = {"flag_values": values}
    _define_what(cuts, own)
    _define_data(dataset, own)
    _define_training(own)
    _define_critics(own)
    _define_running(own)
    for name in without:
        delattr(values, name)
    return values


def _define_what(cuts, own):
    flags.DEFINE(
        Choice(*cuts),
        "splits",
        3,
        "Cut the network at so many places, and train the stages side by side.",
        **own,
    )
    flags.DEFINE_list(
        "cuts",
        None,
        f"Cut after these layers instead of those of --splits, such as {','.join(cuts[1])}.",
        **own,
    )
    flags.DEFINE_enum(
        "method",
        "sobolev",
        st.synthetic.METHODS,
        "What the stages below a cut learn from; the rows of Table 1.",
        **own,
    )
    flags.DEFINE(
        Seeds(),
        "seeds",
        None,
        "Repeat with these seeds, such as 0,1,2; report mean and deviation.",
        **own,
    )


def _define_data(dataset, own):
    text = "A data set that TFDS has prepared, by name or directory, or shapes, which are drawn."
    if dataset is None:
        text += " Default: imagenet2012 if it is prepared, else shapes."
    flags.DEFINE_string("dataset", dataset, text, **own)
    flags.DEFINE_string(
        "data_dir", None, "Folder where TFDS keeps its data sets. Default: TFDS_DATA_DIR.", **own
    )
    flags.DEFINE_integer(
        "num_classes",
        None,
        "Take only the first so many classes. Reads all records once more to count theirs.",
        2,
        **own,
    )
    flags.DEFINE_integer("image_size", None, "Side of the images in pixels.", 32, **own)
    flags.DEFINE_enum(
        "augmentation",
        None,
        list(tfds_images.AUGMENTATIONS),
        "How training images are cropped: inception crops, pad_crop shifts and flips. The paper "
        "does not say.",
        **own,
    )
    flags.DEFINE_boolean(
        "color_distortion", False, "Distort the colors of training images, as Inception.", **own
    )
    flags.DEFINE_enum(
        "eval_split",
        "validation",
        datasets.EVAL_SPLITS,
        "Which shapes to hold out: those of the results, or those that recipes are chosen on.",
        **own,
    )
    flags.DEFINE_integer("batch_size", None, "Images in a step, over all replicas.", 1, **own)


def _define_training(own):
    flags.DEFINE_enum(
        "optimizer",
        None,
        ["adam", "sgd"],
        "The network's optimizer: Adam, or SGD with momentum 0.9.",
        **own,
    )
    flags.DEFINE_float("learning_rate", None, "The network's learning rate.", 0.0, **own)
    flags.DEFINE_enum(
        "schedule",
        None,
        ["cosine", "steps"],
        "cosine: warm up, then decay to zero. steps: a tenth at each of the paper's drops.",
        **own,
    )
    flags.DEFINE_integer(
        "schedule_steps",
        None,
        "Steps that the learning rate's schedule spans. --steps, if given too, ends it early.",
        1,
        **own,
    )
    flags.DEFINE_float("l2", None, "Weight of the squared norm of all kernels.", 0.0, **own)


def _define_critics(own):
    flags.DEFINE_float(
        "critic_learning_rate", None, "The critics' learning rate, with Adam.", 0.0, **own
    )
    flags.DEFINE_enum(
        "gradient_target",
        None,
        ["bootstrapped", "true"],
        "The critics' target gradient. bootstrapped: what arrives from the next stage. true: "
        "full backpropagation.",
        **own,
    )
    flags.DEFINE_enum(
        "gradient_loss",
        "l1",
        list(GRADIENT_LOSSES),
        "Loss of the critics' gradient. The paper's is l1, summed.",
        **own,
    )
    flags.DEFINE_float(
        "gradient_weight",
        1.0,
        "Weight of --gradient_loss; of the methods sobolev, vfbn and direct.",
        0.0,
        **own,
    )
    flags.DEFINE_float(
        "label_weight",
        0.0,
        "Weight of the critics' supervision by dL/dy (SM 4.1), over all classes.",
        0.0,
        **own,
    )
    flags.DEFINE_enum(
        "critic_updates",
        "sequential_async",
        st.synthetic.CRITIC_UPDATES,
        "How critics learn from several replicas. sync: from their average. sequential_async: from "
        "one after another.",
        **own,
    )


def _define_running(own):
    flags.DEFINE_integer(
        "num_evals", None, "How often to evaluate; with --epochs, after each.", 1, **own
    )
    flags.DEFINE_boolean(
        "pixel_baseline", False, "Compare with logistic regression on the pixels.", **own
    )
    flags.DEFINE_float(
        "save_minutes", 5, "Save a checkpoint at least every so many minutes.", 0.0, **own
    )
    flags.DEFINE_enum(
        "placement",
        "none",
        ["none", "stages"],
        "stages: put each stage on its own device, a logical one of the CPU if need be.",
        **own,
    )
    flags.DEFINE_integer(
        "steps_per_execution",
        1,
        "Steps in one execution. With --placement=stages they overlap, and critics learn late.",
        1,
        **own,
    )


def check(settings: Settings) -> None:
    """Raise UsageError for flags that contradict each other."""
    if settings.cuts is not None and "splits" in settings.typed:
        raise UsageError("--cuts and --splits both say where to cut: give one of them")
    if settings.cuts == ():
        raise UsageError("--cuts= names no layer: name some, or give --splits=0 for no cut")
    if settings.seeds is not None and "seed" in settings.typed:
        raise UsageError("--seeds and --seed both name seeds: give --seeds, and no --seed")
    replicas = settings.devices or ("strategy" in settings.typed and settings.strategy != "none")
    if settings.placement == "stages" and replicas:
        raise UsageError(
            "--placement=stages takes no --strategy and no --devices: each stage has a device"
        )


def chosen_cuts(settings: Settings, cuts: Cuts) -> list[str]:
    """Return the layers to cut after: --cuts, or those of --splits."""
    return cuts[settings.splits] if settings.cuts is None else list(settings.cuts)


def gradient_loss(settings: Settings) -> keras.losses.Loss:
    """Return the loss of the critics' gradient, --gradient_loss."""
    return GRADIENT_LOSSES[settings.gradient_loss]()
