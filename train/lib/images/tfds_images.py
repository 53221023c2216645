"""Images that TFDS has prepared: found by name or directory, checked, and opened as streams.

Nothing is ever downloaded, and no code of a data set runs: only its files are read.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds

from sobolev_tf.keras_support import batching
from train.lib.images import augment, tfrecords
from train.lib.images.share import Share
from train.lib.images.streams import Images
from train.lib.run import feature_names, paths
from train.lib.run.errors import UsageError, last_line, reading

SMALL_RECORD = 16_384  # bytes; images that are smaller get `pad_crop`, larger ones `inception`
AUGMENTATIONS: dict[str, Callable] = {
    "inception": augment.inception,
    "pad_crop": augment.pad_crop,
    "flip": augment.flip,
    "none": augment.center,
}


def folder_of(data_dir: str | os.PathLike | None = None) -> Path:
    """Return the folder of TFDS's data sets: data_dir, or TFDS_DATA_DIR, or TFDS's default.

    Raises:
      UsageError: if there is no such folder, or no home directory to look for it.
    """
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if paths.URL.match(os.fspath(folder)):
        raise UsageError(f"TFDS_DATA_DIR={folder}: expected a folder of this machine")
    try:
        folder = Path(folder).expanduser()
    except RuntimeError as error:
        raise UsageError(f"there is no home directory for the data folder {folder}") from error
    if data_dir and not folder.is_dir():
        raise UsageError(f"--data_dir={data_dir} is not a folder")
    return folder


def prepared(data_dir: str | os.PathLike | None = None) -> list[str]:
    """Name the data sets that TFDS has prepared in data_dir (default TFDS_DATA_DIR)."""
    root = folder_of(data_dir)
    infos = root.glob("*/**/dataset_info.json") if root.is_dir() else ()
    return sorted({info.relative_to(root).parts[0] for info in infos})


def find(name: str, data_dir: str | os.PathLike | None = None) -> tfds.core.DatasetBuilder:
    """Find a prepared data set by its name or its directory.

    Raises:
      UsageError: there is none, or its description is broken.
    """
    root = folder_of(data_dir)
    is_directory = (Path(name) / "dataset_info.json").is_file()
    first, *_ = re.split("[/:]", name)
    for path in [Path(name)] if is_directory else _folders_of(root / first):
        with reading(path, "prepare it with TFDS again", "is broken"):
            feature_names.check(path)
    try:
        if is_directory:
            return tfds.builder_from_directory(name)
        return tfds.core.read_only_builder.builder_from_files(name, data_dir=root)
    except Exception as error:  # TFDS raises whatever its parsers do
        if is_directory or first in prepared(data_dir):
            raise UsageError(
                f"data set {name!r} is broken: {last_line(error)}; prepare it with TFDS again"
            ) from error
        available = ", ".join(["shapes", *prepared(data_dir)])
        raise UsageError(
            f"no data set {name!r} in {root}, only {available}: prepare it with "
            f"TFDS (`tfds build {name}`; nothing is downloaded here), or give --data_dir, or as "
            "--dataset the directory of its dataset_info.json"
        ) from error


def _folders_of(parent: Path) -> list[Path]:
    """Return the folders below `parent` that describe a data set's features."""
    return [path.parent for path in parent.rglob(feature_names.FILE)] if parent.is_dir() else []


def open_images(
    builder: tfds.core.DatasetBuilder,
    *,
    image_size: int,
    batch_size: int,
    seed: int,
    share: Share,
    augmentation: str,
    color_distortion: bool,
    num_classes: int | None,
) -> Images:
    """Open what `find` has found; the arguments are those of `datasets.load`."""
    info, where = builder.info, str(builder.data_path)
    _check_features(info.features, where)
    train, held_out = _splits(info, where)
    for split in (train, held_out):
        tfrecords.check(split.filepaths, split.shard_lengths, split.num_bytes)
    if augmentation == "auto":
        small = train.num_bytes / train.num_examples < SMALL_RECORD
        augmentation = "pad_crop" if small else "inception"
    if augmentation not in AUGMENTATIONS:
        raise UsageError(f"augmentation {augmentation!r}: expected {', '.join(AUGMENTATIONS)}")

    def parse(record):
        skip = {"image": tfds.decode.SkipDecoding()}
        example = info.features.deserialize_example(record, decoders=skip)
        return example["image"], example["label"]

    def is_kept(record):
        return parse(record)[1] < num_classes

    def train_records(start):
        if not num_classes:
            return tfrecords.shuffled(train.filepaths, train.shard_lengths, seed, start)
        epochs, rest = divmod(start, sizes[0])  # whole epochs are passed over unread
        first = epochs * train.num_examples
        all_classes = tfrecords.shuffled(train.filepaths, train.shard_lengths, seed, first)
        return all_classes.filter(is_kept).skip(rest)

    def held_out_records():
        records = _records(held_out)
        return records.filter(is_kept) if num_classes else records

    name, names = info.name, tuple(info.features["label"].names)
    sizes = [train.num_examples, held_out.num_examples]
    if num_classes:
        if not 2 <= num_classes < len(names):
            raise UsageError(
                f"--num_classes={num_classes}: {name} has {len(names)} classes, expected 2 to "
                f"{len(names) - 1}"
            )
        name, names = f"{name}, {num_classes} classes", names[:num_classes]
        sizes = [_count(split, is_kept) for split in (train, held_out)]

    def draw(record, key):
        encoded, label = parse(record)
        image = AUGMENTATIONS[augmentation](encoded, image_size, key)
        return (augment.distort_color(image, key) if color_distortion else image), label

    def show(record):
        encoded, label = parse(record)
        return augment.center(encoded, image_size), label

    return Images(
        name=name,
        version=str(info.version),
        class_names=names,
        train_size=sizes[0],
        eval_size=sizes[1],
        where=where,
        notice="",
        files=(*train.filepaths, *held_out.filepaths),
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        augmentation=augmentation,
        share=share,
        _train=train_records,
        _draw=draw,
        _eval=held_out_records,
        _show=show,
    )


def _records(split):
    """Stream a split's records in their order."""
    return tf.data.TFRecordDataset([str(file) for file in split.filepaths])


def _count(split, is_kept):
    """Count the records of a split that are kept."""
    stream = _records(split).filter(is_kept)
    where = split.filepaths[0].parent
    with (
        reading(where, "prepare the data set again", "cannot be read"),
        tfrecords.named_errors(split.filepaths),
    ):
        kept = int(batching.without_autotune(stream).reduce(0, lambda count, _: count + 1))
    if not kept:
        raise UsageError(
            f"split {split.name} has no example of these classes: give more --num_classes"
        )
    return kept


def _check_features(features, where):
    expected = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    names = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    for key, kind in expected.items():
        feature = names.get(key)
        if not isinstance(feature, kind):
            raise UsageError(
                f"{where}: expected a feature {key!r} of kind {kind.__name__}, "
                f"got {type(feature).__name__ if feature else ', '.join(names) or 'none'}"
            )
    classes = len(names["label"].names)
    if classes < 2:
        raise UsageError(f"{where}: its label has {classes} classes, expected at least 2")


def _splits(info, where):
    """Return the training and the held-out split (validation, else test)."""
    held_out = next((name for name in ("validation", "test") if name in info.splits), None)
    if "train" not in info.splits or held_out is None:
        raise UsageError(
            f"{where}: expected splits train and validation (or test), "
            f"got {', '.join(info.splits) or 'none'}"
        )
    if info.file_format is not tfds.core.FileFormat.TFRECORD:
        raise UsageError(f"{where}: expected TFRecord files, got {info.file_format.value}")
    for name in ("train", held_out):
        if not info.splits[name].num_examples:
            raise UsageError(f"{where}: split {name} has no examples; prepare the data set again")
    return info.splits["train"], info.splits[held_out]
