"""A network's SavedModel that answers derivatives, for TensorFlow alone."""

import contextlib
import logging
import os
import shutil
import uuid

import keras
import tensorflow as tf

# What a SavedModel may hold: whatever else a directory holds is somebody's, and stays.
_ENTRIES = {"saved_model.pb", "fingerprint.pb", "assets", "variables", "keras_metadata.pb"}


def export_jets(layers: list, served, specs: list, order: int, path) -> None:
    """Write a SavedModel with four signatures, each with any batch size.

    | signature | takes | gives |
    | --- | --- | --- |
    | serving_default | x [B,*in] | value [B,*out] |
    | jet | x | value, d1 [B,*out,*in], ..., up to `order` (at least 1) |
    | jvp | x, v [B,*in] | value, jvp [B,*out] |
    | vjp | x, u [B,*out] | value, vjp [B,*in] |

    layers: what holds the variables.
    served: from the list of input tensors that `specs` describe to (f, point): the function to
        serve, with its `jet`, `jvp` and `vjp`, of what is differentiated. A model of several
        inputs takes them by name.
    """

    def serve(*x):
        f, point = served(x)
        return {"value": f(point)}

    def jet(*x):
        f, point = served(x)
        answer = f.jet(point, max(order, 1))
        return {"value": answer.value} | {f"d{j}": d for j, d in enumerate(answer.derivatives, 1)}

    def jvp(*xv):
        f, point = served(xv[:-1])
        return dict(zip(["value", "jvp"], f.jvp(point, xv[-1]), strict=True))

    def vjp(*xu):
        f, point = served(xu[:-1])
        return dict(zip(["value", "vjp"], f.vjp(point, xu[-1]), strict=True))

    def ends(*x):
        f, point = served(x)
        return point, f(point)

    archive = keras.export.ExportArchive()
    for layer in layers:
        archive.track(layer)
    ends = tf.function(ends).get_concrete_function(*specs).structured_outputs
    v, u = (tf.TensorSpec(t.shape, t.dtype, name=n) for t, n in zip(ends, "vu", strict=True))
    archive.add_endpoint("serving_default", serve, input_signature=specs)
    archive.add_endpoint("jet", jet, input_signature=specs)
    archive.add_endpoint("jvp", jvp, input_signature=[*specs, v])
    archive.add_endpoint("vjp", vjp, input_signature=[*specs, u])
    with replaced_directory(path) as temporary, _quiet("tensorflow", "absl"):
        archive.write_out(temporary, verbose=False)


def export_network(net: keras.Model, path) -> None:
    """Write `net` as Keras's `export` does, values alone; whole or not at all, and quietly."""
    with replaced_directory(path) as temporary, _quiet("tensorflow", "absl"):
        net.export(temporary, verbose=False)


@contextlib.contextmanager
def replaced_directory(path):
    """Yields a new directory's name; on success it takes `path`'s place, on failure it goes.

    Raises ValueError where `path` holds something that is not a SavedModel, or more than one.
    """
    path = os.path.abspath(os.fspath(path))
    if os.path.exists(path) and not (os.path.isdir(path) and set(os.listdir(path)) <= _ENTRIES):
        raise ValueError(f"{path} exists and is not a SavedModel: choose another directory.")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary, old = (f"{path}.{word}-{uuid.uuid4().hex[:8]}" for word in ("new", "old"))
    try:
        yield temporary
        if os.path.exists(path):
            os.rename(path, old)
        try:
            os.rename(temporary, path)
        except OSError:
            if os.path.exists(old):
                os.rename(old, path)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _quiet(*names):
    """Keeps TensorFlow's account of the files it wrote from the reader."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
