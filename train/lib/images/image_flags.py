"""The flags that the scripts of section 4.3 share, and the combinations that they refuse."""

from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

import sobolev_tf as st
from train.lib.images import critic_flags, datasets, tfds_images
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
    "schedule": "piecewise",
    "critic_learning_rate": 1e-4,
    "l2": 1e-4,
    "gradient_target": "true",
    "critic_batch": 32,  # images of a worker, of which each gives the critics an update
}
FLAGS_THAT_MAY_CHANGE = ("data_dir", "pixel_baseline", "save_minutes")  # when a run is resumed
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
      dataset: default of --dataset; None is imagenet2012 if it is prepared, else shapes.
      without: flags that the script does not have.

    Returns:
      New flags, to which the script adds its own.
    """
    values = cli.common_flags(presets)
    own = {"flag_values": values}
    _define_what(cuts, own)
    _define_data(dataset, own)
    _define_training(own)
    critic_flags.define(own)
    _define_running(own)
    for name in without:
        delattr(values, name)
    return values


def _define_what(cuts, own):
    flags.DEFINE(
        Choice(*cuts),
        "splits",
        3,
        "Number of cuts; N cuts make N+1 stages, which are trained side by side.",
        **own,
    )
    flags.DEFINE_list(
        "cuts",
        None,
        f"Layers to cut after, instead of those of --splits; such as {','.join(cuts[1])}.",
        **own,
    )
    flags.DEFINE_enum(
        "method",
        "sobolev",
        st.synthetic.METHODS,
        "What the stages below a cut learn from; the rows of Table 1, and two controls. "
        "sobolev: a critic trained on the loss and on its gradient. "
        "critic: a critic trained on the loss only. "
        "vfbn: a critic trained on the gradient only. "
        "direct: a module that predicts the gradient itself. "
        "noprop: nothing; stages below a cut are not trained. "
        "backprop: the true gradient; no critics. "
        "random: a control, a random gradient as long as the true one. "
        "flipped: a control, the true gradient with the other sign for half of the channels.",
        **own,
    )
    flags.DEFINE(
        Seeds(),
        "seeds",
        None,
        "Seeds to repeat the run with, such as 0,1,2; mean and deviation are reported.",
        **own,
    )


def _define_data(dataset, own):
    text = "A data set that TFDS has prepared, by name or directory; or shapes, which are drawn."
    if dataset is None:
        text += " Default: imagenet2012 if it is prepared, else shapes."
    flags.DEFINE_string("dataset", dataset, text, **own)
    flags.DEFINE_string(
        "data_dir",
        None,
        "Folder of TFDS's data sets. Default: TFDS_DATA_DIR, or else ~/tensorflow_datasets.",
        **own,
    )
    flags.DEFINE_integer(
        "num_classes",
        None,
        "Keep the first N classes (reads every record once to count them). Default: all.",
        2,
        **own,
    )
    flags.DEFINE_integer(
        "image_size", None, "Height and width of the images, in pixels.", 32, **own
    )
    flags.DEFINE_enum(
        "augmentation",
        "auto",
        ["auto", *tfds_images.AUGMENTATIONS],
        "Augmentation of training images; the paper does not mention any. "
        "auto: pad_crop of small images (records below 16 kB on average), inception of others. "
        "inception: random crops of any size and shape, flipped half the time. "
        "pad_crop: shifted by up to an eighth, flipped half the time. "
        "flip: flipped half the time. none: nothing.",
        **own,
    )
    flags.DEFINE_boolean(
        "color_distortion",
        False,
        "Change brightness, saturation, contrast and hue of training images, as Inception.",
        **own,
    )
    flags.DEFINE_enum(
        "eval_split",
        "validation",
        datasets.EVAL_SPLITS,
        "Held-out images of the drawn shapes. validation: those of the results. selection: others, "
        "for choosing recipes.",
        **own,
    )
    flags.DEFINE_integer(
        "batch_size", None, "Images in a training step, over all replicas.", 1, **own
    )


def _define_training(own):
    flags.DEFINE_enum(
        "optimizer",
        None,
        ["adam", "sgd"],
        "The network's optimizer. adam: Adam. sgd: SGD with momentum 0.9.",
        **own,
    )
    flags.DEFINE_float("learning_rate", None, "The network's highest learning rate.", 0.0, **own)
    flags.DEFINE_enum(
        "schedule",
        None,
        ["cosine", "piecewise"],
        "Schedule of --learning_rate. cosine: rises over the first twentieth of the steps, then "
        "falls to zero. piecewise: falls to a tenth at each of the paper's drops.",
        **own,
    )
    flags.DEFINE_integer(
        "schedule_steps",
        None,
        "Steps over which the learning rate falls, and the length of training unless --steps is "
        "smaller. Default: --steps.",
        1,
        **own,
    )
    flags.DEFINE_float(
        "l2", None, "Weight of the squared norm of all kernels in the loss.", 0.0, **own
    )


def _define_running(own):
    flags.DEFINE_integer(
        "num_evals",
        None,
        "Number of evaluations, evenly spaced over the training: fewer where it does not divide "
        "--steps. With --epochs, one after each.",
        1,
        **own,
    )
    flags.DEFINE_boolean(
        "pixel_baseline",
        False,
        "Also train logistic regression on the pixels, and report its accuracy.",
        **own,
    )
    flags.DEFINE_float(
        "save_minutes",
        5,
        "Save a checkpoint at least every N minutes; 0: after every step.",
        0.0,
        **own,
    )
    flags.DEFINE_enum(
        "placement",
        "none",
        ["none", "stages"],
        "Devices of the stages. none: every device has all stages. stages: each stage has a device "
        "of its own, a logical CPU if there are no others.",
        **own,
    )
    flags.DEFINE_integer(
        "steps_per_execution",
        1,
        "Training steps that TensorFlow runs at a time. With --placement=stages they overlap, and "
        "critics learn with a delay.",
        1,
        **own,
    )


def check(settings: Settings) -> None:
    """Raise UsageError for flags that contradict each other."""
    if settings.cuts is not None and "splits" in settings.typed:
        raise UsageError("--cuts and --splits both say where to cut: give one of them")
    if settings.cuts == ():
        raise UsageError("--cuts= names no layer: name some, or give --splits=0 for no cut")
    if settings.dataset == "shapes" and "data_dir" in settings.typed:
        raise UsageError("--dataset=shapes is drawn, not read from --data_dir: give one of them")
    unused = sorted(settings.typed & {"augmentation", "color_distortion"})
    if unused and datasets.is_drawn(settings.dataset, settings.data_dir):
        raise UsageError(f"--{unused[0]} is for data sets that TFDS has prepared, not for shapes")
    if settings.seeds is not None and "seed" in settings.typed:
        raise UsageError("--seeds and --seed both name seeds: give --seeds, and no --seed")
    if settings.devices and settings.devices > settings.batch_size:
        raise UsageError(
            f"--devices={settings.devices} is more than --batch_size={settings.batch_size}: each "
            "replica needs an image of every batch"
        )
    replicas = settings.devices or ("strategy" in settings.typed and settings.strategy != "none")
    if settings.placement == "stages" and replicas:
        raise UsageError(
            "--placement=stages takes no --strategy and no --devices: each stage has a device"
        )
    if settings.strategy == "parameter_server":
        _check_racing(settings)


def _check_racing(settings):
    """Refuse flags that have no effect where workers race."""
    given = {
        "--jit_compile": settings.jit_compile,
        f"--steps_per_execution={settings.steps_per_execution}": settings.steps_per_execution > 1,
        "--deterministic": settings.deterministic,
    }
    for flag in (flag for flag, is_given in given.items() if is_given):
        raise UsageError(
            f"{flag} has no effect with --strategy=parameter_server, where workers race, each step "
            "by itself and without XLA: leave it out"
        )


def chosen_cuts(settings: Settings, cuts: Cuts) -> list[str]:
    """Return the layers to cut after: --cuts, or those of --splits."""
    return cuts[settings.splits] if settings.cuts is None else list(settings.cuts)
