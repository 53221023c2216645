"""Image data sets: drawn, or found among those that TFDS has prepared.

images = load("imagenet2012", image_size=224, batch_size=256, seed=0)
with images.named_errors():
    model.fit(images.train_stream(start_step), validation_data=images.eval_dataset(), ...)
"""

import os
from typing import Any

import tensorflow as tf

from train.lib.images import shapes, tfds_images, tfrecords
from train.lib.images.share import WHOLE, Share
from train.lib.images.streams import Images
from train.lib.run import memory
from train.lib.run.errors import UsageError, reading

SMALLEST = 32  # ResNet50 takes no smaller image
EVAL_SPLITS = ["validation", "selection"]  # of the shapes that are held out
DRAWN = "these are ten classes of shapes on clutter; the numbers say nothing about ImageNet"


def load(
    name: str | None = None,
    *,
    data_dir: str | os.PathLike | None = None,
    image_size: int = 224,
    batch_size: int = 32,
    seed: int = 0,
    augmentation: str = "auto",
    color_distortion: bool = False,
    eval_split: str = "validation",
    num_classes: int | None = None,
    share: Share = WHOLE,
) -> Images:
    """Open `shapes`, a data set that TFDS has prepared (by name), or its directory.

    Args:
      name: "shapes", a name, or a directory that holds a dataset_info.json. None is
        imagenet2012 if it is prepared, else `shapes`, which says so in its notice.
      data_dir: folder of TFDS's data sets; default TFDS_DATA_DIR.
      image_size: side of the images in pixels, at least 32.
      batch_size: images in a batch.
      seed: of order and augmentation, and of what is drawn.
      augmentation: one of `tfds_images.AUGMENTATIONS`, or "auto", by the size of the records.
      color_distortion: whether to distort the colors of training images as well.
      eval_split: "validation" or "selection"; of `shapes`, "selection" holds out the images
        that recipes are chosen on. A prepared data set has "validation" only.
      num_classes: keep the first N classes; reads every record once to count them.
      share: which part of every batch this worker reads.

    Returns:
      The data set as two streams.

    Raises:
      UsageError: for whatever cannot be used, in one line.
    """
    if image_size < SMALLEST:
        raise UsageError(f"image_size={image_size} is too small: expected at least {SMALLEST}")
    if batch_size < 1:
        raise UsageError(f"batch_size={batch_size}: expected at least 1")
    batch_bytes = batch_size * image_size**2 * 3 * 4  # float32
    memory.refuse_more_than_there_is(
        f"--batch_size={batch_size} of images of {image_size}x{image_size}", batch_bytes
    )
    common: dict[str, Any] = {
        "image_size": image_size,
        "batch_size": batch_size,
        "seed": seed,
        "share": share,
    }
    if is_drawn(name, data_dir):
        if num_classes:
            raise UsageError(
                "--num_classes is for data sets that TFDS has prepared, not for shapes"
            )
        reason, where = "DRAWN IMAGES", "images drawn on the fly"
        if not name:
            reason = "NO ImageNet IS PREPARED"
            where += f", since {tfds_images.folder_of(data_dir)} has no imagenet2012"
        return _shapes(f"{reason}: {DRAWN}", where, eval_split, **common)
    name = name or "imagenet2012"
    if eval_split != "validation":
        raise UsageError(
            f"--eval_split={eval_split} is for --dataset=shapes; {name} has one held-out split"
        )
    builder = tfds_images.find(name, data_dir)
    with reading(builder.data_path, "prepare the data set again", "is broken"):
        return tfds_images.open_images(
            builder,
            augmentation=augmentation,
            color_distortion=color_distortion,
            num_classes=num_classes,
            **common,
        )


def is_drawn(name: str | None, data_dir: str | os.PathLike | None = None) -> bool:
    """Return whether `load` draws `shapes`: by name, or where no ImageNet is prepared."""
    return name == "shapes" or (not name and "imagenet2012" not in tfds_images.prepared(data_dir))


def _shapes(notice, where, held_out, image_size, batch_size, seed, share):
    size = shapes.SIZES["train"]

    def indices(start):  # one permutation of the images per epoch
        return tf.data.Dataset.range(start, tf.int64.max).map(
            lambda i: tf.random.experimental.index_shuffle(
                i % size, tfrecords.fold_in([seed, 2], i // size), size - 1
            )
        )

    def draw(split):
        def one(index, _seed=None):
            return shapes.draw(index, seed=seed, split=split, image_size=image_size)

        return one

    return Images(
        name="shapes",
        version=f"held out: {held_out}",
        class_names=shapes.CLASSES,
        train_size=size,
        eval_size=shapes.SIZES[held_out],
        where=where,
        notice=notice,
        files=(),
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        augmentation="none",
        share=share,
        _train=indices,
        _draw=draw("train"),
        _eval=lambda: tf.data.Dataset.range(shapes.SIZES[held_out]),
        _show=draw(held_out),
    )
