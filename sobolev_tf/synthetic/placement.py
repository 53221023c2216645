"""Devices for the stages of a split network, and copies of models there."""

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager

import keras
import tensorflow as tf


def devices(placement: str | Sequence[str] | None, stages: int) -> list[str | None]:
    """Name a device for each stage.

    Args:
      placement: None for no placement; "stages" for the workers that TensorFlow is connected to or,
        if there are none, this machine's GPUs or else its (logical) CPUs; or a list of names.
      stages: the number of stages.

    Returns:
      A list of names, or of None without a placement.

    Raises:
      ValueError: there are fewer devices, or the list has another length or unknown names.

    Example:

    >>> devices(["CPU:0", "CPU:1"], stages=2)
    ['CPU:0', 'CPU:1']
    """
    if placement is None:
        return [None] * stages
    if isinstance(placement, (list, tuple)):
        if len(placement) != stages:
            raise ValueError(
                f"placement: expected {stages} devices, one for each stage; got {len(placement)}."
            )
        return [_known(name, k) for k, name in enumerate(placement)]
    if placement != "stages":
        raise ValueError(
            f"placement is None, 'stages' or a list of device names; got {placement!r}."
        )
    names = _workers() or _local("GPU", stages) or _local("CPU", 0)
    if len(names) < stages:
        raise ValueError(
            f"placement='stages' puts each of {stages} stages on a device of its own; found "
            f"{len(names)}: {', '.join(names)}. Make logical ones with "
            "tf.config.set_logical_device_configuration, or connect to workers with "
            "tf.config.experimental_connect_to_cluster."
        )
    return names[:stages]


def _known(name, stage):
    """Return `name`, if there is such a device: else TensorFlow would quietly use CPU:0."""
    known = [device.name for device in tf.config.list_logical_devices()]
    fields = ("job", "replica", "task", "device_type", "device_index")
    with contextlib.suppress(ValueError):
        requested = tf.DeviceSpec.from_string(str(name))
        for device in map(tf.DeviceSpec.from_string, known):
            if all(getattr(requested, f) in (None, getattr(device, f)) for f in fields):
                return name
    raise ValueError(
        f"placement: no device {name!r} for stage {stage + 1}; there are {', '.join(known)}."
    )


def _workers():
    """Name the first GPU, or else the CPU, of every worker of a cluster."""
    first: dict[int, str] = {}
    for kind in ("GPU", "CPU"):
        for device in tf.config.list_logical_devices(kind):
            spec = tf.DeviceSpec.from_string(device.name)
            if spec.job == "worker":
                first.setdefault(spec.task, device.name)
    return [first[task] for task in sorted(first)]


def _local(kind, least):
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    return names if len(names) >= least else []


def copy_to_devices(
    models: Sequence[keras.Model], names: Sequence[str | None]
) -> list[keras.Model]:
    """Copy functional Keras models, each with its variables on the device of that name.

    If the name is None, the model itself is returned.
    """
    return [
        _copy(model, name) if name else model for model, name in zip(models, names, strict=False)
    ]


def _copy(model, name):
    with tf.device(name):
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
    for new, old in zip(copy.variables, model.variables, strict=True):
        new.trainable, new.regularizer = old.trainable, old.regularizer
    return copy


def device_scope(name: str | None) -> AbstractContextManager:
    """Return the scope of a device; for None, one that changes nothing."""
    return tf.device(name) if name else contextlib.nullcontext()
