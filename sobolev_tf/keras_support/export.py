"""SavedModels that compute derivatives and need only TensorFlow."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.keras_support.directories import replaced_directory


def export_jets(
    layers: list,
    served: Callable,
    specs: list,
    order: int,
    path: str | os.PathLike,
    std: Callable | None = None,
    verbose: bool = False,
) -> None:
    """Write a SavedModel with four or five signatures, for any batch size.

    | signature | takes | gives |
    | --- | --- | --- |
    | serving_default | x [B,*in] | value [B,*out] |
    | jet | x | value, d1 [B,*out,*in], ..., up to `order` (at least 1) |
    | jvp | x, v [B,*in] | value, jvp [B,*out] |
    | vjp | x, u [B,*out] | value, vjp [B,*in] |
    | std | x | standard deviations: value [B,*out], d1 [B,*out,*in] |

    A model with several inputs takes them by name. If an input is called v (or u), the direction of
    jvp (of vjp) is called v_1 (u_1).

    Args:
      layers: the layers that hold the variables.
      served: a function of the input tensors that `specs` describe. It returns (f, point): the
        function to serve, with methods `jet`, `jvp` and `vjp`, and the point to differentiate at.
      specs: one `tf.TensorSpec` for each input.
      order: the highest order of derivatives.
      path: the directory. It appears whole or not at all.
      std: a function of input tensors that returns deviations by name; None leaves the signature
        out.
      verbose: whether to print the path at the end.

    Raises:
      ValueError: `path` holds something that is not a SavedModel.
    """

    def serve(*x):
        f, point = served(x)
        return {"value": f(point)}

    def jet(*x):
        f, point = served(x)
        value, derivatives = f.jet(point, max(order, 1))
        return {"value": value} | {f"d{j}": d for j, d in enumerate(derivatives, 1)}

    def jvp(*xv):
        f, point = served(xv[:-1])
        value, tangent = f.jvp(point, xv[-1])
        return {"value": value, "jvp": tangent}

    def vjp(*xu):
        f, point = served(xu[:-1])
        value, gradient = f.vjp(point, xu[-1])
        return {"value": value, "vjp": gradient}

    def ends(*x):
        f, point = served(x)
        return point, f(point)

    archive = keras.export.ExportArchive()
    for layer in layers:
        archive.track(layer)
    point, value = tf.function(ends).get_concrete_function(*specs).structured_outputs
    v = tf.TensorSpec(point.shape, point.dtype, name="v")
    u = tf.TensorSpec(value.shape, value.dtype, name="u")
    archive.add_endpoint("serving_default", serve, input_signature=specs)
    archive.add_endpoint("jet", jet, input_signature=specs)
    archive.add_endpoint("jvp", jvp, input_signature=[*specs, v])
    archive.add_endpoint("vjp", vjp, input_signature=[*specs, u])
    if std is not None:
        archive.add_endpoint("std", std, input_signature=specs)
    with _written(path, verbose) as temporary:
        archive.write_out(temporary, verbose=False)


def export_network(net: keras.Model, path: str | os.PathLike, verbose: bool = False) -> None:
    """Write `net` by Keras's `export`, without derivatives.

    Args:
      net: a built Keras model.
      path: the directory.
      verbose: whether to print the path at the end.

    Raises:
      ValueError: `path` holds something that is not a SavedModel.
    """
    with _written(path, verbose) as temporary:
        net.export(temporary, verbose=False)


def refuse_options(model: keras.Model, format: str, options: dict[str, Any]) -> None:
    """Raise ValueError for what `export` cannot write, or for a model that is not built."""
    where = f"{type(model).__name__}.export"
    if format != "tf_saved_model":
        raise ValueError(f"{where} writes format='tf_saved_model' only, got {format!r}.")
    if options:
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ValueError(f"{where} takes filepath, format and verbose, got {given}.")
    if not model.built:
        raise ValueError(f"{where} needs a built model: call it, fit it or build it first.")


@contextlib.contextmanager
def _written(path: str | os.PathLike, verbose: bool) -> Iterator[str]:
    """Give a temporary directory that replaces `path` at the end."""
    with replaced_directory(path) as temporary, _quiet("tensorflow", "absl"):
        yield temporary
    if verbose:
        print(f"Wrote a SavedModel to {path}")


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Silence these loggers below errors: TensorFlow lists the files that it writes."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
