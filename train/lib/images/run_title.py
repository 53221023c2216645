"""Descriptions of a run on images, for its figure and for Table 1."""

from collections.abc import Mapping
from typing import Any

WIDTHS = {0.25: "quarter width", 0.5: "half width"}
PAPER_IMAGE_SIZE = 224  # of ResNet50


def data_name(dataset: Mapping[str, Any]) -> str:
    """Return the name of a data set as in summary.json, with a word if it was drawn."""
    drawn = " (drawn, not ImageNet)" if dataset.get("notice") else ""
    return f"{dataset['name']}{drawn}"


def scale(flags: Mapping[str, Any], dataset: Mapping[str, Any], steps: int) -> str:
    """Describe how large a run was: width or size of images, and length, as far as known.

    Args:
      flags: those of the run; only the CIFAR-10 net has a width.
      dataset: as in summary.json.
      steps: number of training steps.

    Example:

    >>> scale({"width_multiplier": 0.25, "batch_size": 128}, {"train_size": 50000}, 1560)
    'quarter width, 4 epochs'
    >>> scale({"batch_size": 32}, {"train_size": 50000, "image_size": 64}, 480)
    '64x64 pixels, 480 steps of 32 images'
    """
    width, side = flags.get("width_multiplier", 1), dataset.get("image_size", PAPER_IMAGE_SIZE)
    parts = []
    if width != 1:
        parts.append(WIDTHS.get(width, f"{width:g} of the width"))
    if "width_multiplier" not in flags and side != PAPER_IMAGE_SIZE:
        parts.append(f"{side}x{side} pixels")
    if "batch_size" in flags and "train_size" in dataset:
        epochs = steps * flags["batch_size"] / dataset["train_size"]
        short = f"{steps:,} steps of {flags['batch_size']} images"
        parts.append(f"{epochs:.2g} epochs" if epochs >= 1 else short)
    return ", ".join(parts)
