"""Image data sets: drawn, or found among those that TFDS has prepared.

    images = load("imagenet2012", image_size=224, batch_size=256, seed=0)
    with images.named_errors():
        model.fit(images.train_stream(start_step), validation_data=images.eval_dataset(), ...)

A name is looked up among the data sets that TFDS has prepared; nothing is ever downloaded.
"""

import os
from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds
from google.protobuf.json_format import ParseError

from sobolev_tf.keras_support import batching
from train.lib.images import augment, shapes, tfrecords
from train.lib.images.streams import Images
from train.lib.run.cli import UsageError

SMALLEST = 32  # ResNet50 takes no smaller image
SMALL_RECORD = 16_384  # bytes; images that are smaller get `pad_crop`, larger ones `inception`
AUGMENTATIONS = {
    "inception": augment.inception,
    "pad_crop": augment.pad_crop,
    "flip": augment.flip,
    "none": augment.centre,
}
DRAWN = "these are ten classes of shapes on clutter; the numbers say nothing about ImageNet"


def load(
    name,
    *,
    data_dir=None,
    image_size=224,
    batch_size=32,
    seed=0,
    augmentation="auto",
    colour=False,
    asked=True,
    selection=False,
    classes=None,
):
    """Opens `shapes`, a data set that TFDS has prepared (by name), or its directory.

    Args: data_dir, where TFDS keeps its data sets (default TFDS_DATA_DIR); augmentation, one of
    AUGMENTATIONS or "auto", by the size of the images; colour, distort colours as well; asked,
    whether someone asked for `name`, or it stands in for a data set that is not prepared;
    selection, of `shapes`, hold out the images to choose recipes on, not those of the results;
    classes, take only the first so many, which reads all records once to count theirs.
    Raises UsageError, one line, for whatever cannot be used.
    """
    if image_size < SMALLEST:
        raise UsageError(f"image_size={image_size} is too small: expected at least {SMALLEST}")
    if batch_size < 1:
        raise UsageError(f"batch_size={batch_size}: expected at least 1")
    common = {"image_size": image_size, "batch_size": batch_size, "seed": seed}
    if name == "shapes":
        if classes:
            raise UsageError("--classes is for data sets that TFDS has prepared, not for shapes")
        found = "DRAWN IMAGES" if asked else f"NO ImageNet IS PREPARED in {_data_dir(data_dir)}"
        return _shapes(f"{found}: {DRAWN}", "selection" if selection else "validation", **common)
    if selection:
        raise UsageError(f"--selection is for --dataset=shapes; {name} has one held-out split")
    return _prepared(_builder(name, data_dir), augmentation, colour, classes, **common)


def default_dataset(data_dir=None):
    """Returns "imagenet2012" where it is prepared, else "shapes"."""
    return "imagenet2012" if "imagenet2012" in prepared(data_dir) else "shapes"


def prepared(data_dir=None):
    """Names the data sets that TFDS has prepared in data_dir (default TFDS_DATA_DIR)."""
    root = _data_dir(data_dir)
    infos = root.glob("*/**/dataset_info.json") if root.is_dir() else ()
    return sorted({info.relative_to(root).parts[0] for info in infos})


def _data_dir(data_dir):
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    try:
        folder = Path(folder).expanduser()
    except RuntimeError as error:
        raise UsageError(f"there is no home directory for the data folder {folder}") from error
    if data_dir and not folder.is_dir():
        raise UsageError(f"--data_dir={data_dir} is not a folder")
    return folder


def _shapes(notice, held_out, image_size, batch_size, seed):
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
        where="images drawn on the fly",
        notice=notice,
        files=(),
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        _train=indices,
        _draw=draw("train"),
        _eval=lambda: tf.data.Dataset.range(shapes.SIZES[held_out]),
        _show=draw(held_out),
    )


def _builder(name, data_dir):
    """Finds what TFDS has prepared; never runs a data set's own code, which could download."""
    try:
        if (Path(name) / "dataset_info.json").is_file():
            return tfds.builder_from_directory(name)
        return tfds.core.read_only_builder.builder_from_files(name, data_dir=_data_dir(data_dir))
    except (tfds.core.DatasetNotFoundError, OSError, ValueError, ParseError) as error:
        if name in prepared(data_dir) or (Path(name) / "dataset_info.json").is_file():
            raise UsageError(
                f"data set {name!r} is broken: {error}; prepare it with TFDS again"
            ) from error
        there = ", ".join(["shapes", *prepared(data_dir)])
        raise UsageError(
            f"no data set {name!r} in {_data_dir(data_dir)}, only {there}: prepare it with TFDS "
            f"(`tfds build {name}`; nothing is downloaded here), or give --data_dir, or as "
            "--dataset the directory of its dataset_info.json"
        ) from error


def _prepared(builder, augmentation, colour, classes, image_size, batch_size, seed):
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

    def few(record):
        return parse(record)[1] < classes

    def train_records(start):
        if not classes:
            return tfrecords.shuffled(train.filepaths, train.shard_lengths, seed, start)
        whole = start // sizes[0] * train.num_examples  # epochs are passed over unread
        all_classes = tfrecords.shuffled(train.filepaths, train.shard_lengths, seed, whole)
        return all_classes.filter(few).skip(start % sizes[0])

    def held_out_records():
        return _stored(held_out).filter(few) if classes else _stored(held_out)

    name, names = info.name, tuple(info.features["label"].names)
    sizes = [train.num_examples, held_out.num_examples]
    if classes:
        name, names = _first(classes, name, names)
        sizes = [_count(split, few) for split in (train, held_out)]

    def draw(record, key):
        encoded, label = parse(record)
        image = AUGMENTATIONS[augmentation](encoded, image_size, key)
        return (augment.distort_colour(image, key) if colour else image), label

    def show(record):
        encoded, label = parse(record)
        return augment.centre(encoded, image_size), label

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
        _train=train_records,
        _draw=draw,
        _eval=held_out_records,
        _show=show,
    )


def _first(classes, name, names):
    """The name of the data set with its first classes alone, and their names."""
    if not 2 <= classes < len(names):
        raise UsageError(
            f"--classes={classes}: {name} has {len(names)}: expected at least 2, and fewer"
        )
    return f"{name}, {classes} classes", names[:classes]


def _stored(split):
    """A split's records, in their order."""
    return tf.data.TFRecordDataset([str(file) for file in split.filepaths])


def _count(split, wanted):
    """How many records of a split are wanted."""
    stream = _stored(split).filter(wanted)
    with tfrecords.named_errors(split.filepaths):
        found = int(batching.without_autotune(stream).reduce(0, lambda count, _: count + 1))
    if not found:
        raise UsageError(f"split {split.name} has no example of these classes: give more --classes")
    return found


def _check_features(features, where):
    wanted = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    found = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    for key, kind in wanted.items():
        given = found.get(key)
        if not isinstance(given, kind):
            raise UsageError(
                f"{where}: expected a feature {key!r} of kind {kind.__name__}, "
                f"found {type(given).__name__ if given else ', '.join(found) or 'none'}"
            )


def _splits(info, where):
    """Returns the training and the held-out split (validation, else test)."""
    held_out = next((name for name in ("validation", "test") if name in info.splits), None)
    if "train" not in info.splits or held_out is None:
        raise UsageError(
            f"{where}: expected splits train and validation (or test), "
            f"found {', '.join(info.splits) or 'none'}"
        )
    if info.file_format is not tfds.core.FileFormat.TFRECORD:
        raise UsageError(f"{where}: expected TFRecord files, found {info.file_format.value}")
    for name in ("train", held_out):
        if not info.splits[name].num_examples:
            raise UsageError(f"{where}: split {name} has no examples; prepare the data set again")
    return info.splits["train"], info.splits[held_out]
