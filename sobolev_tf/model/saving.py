"""What a SobolevModel writes to files: its configuration, and the sizes of label components."""

import dataclasses
from typing import Any

import keras
import numpy as np

from sobolev_tf import targets
from sobolev_tf.keras_support.net_configs import serialize_net
from sobolev_tf.model.labels import order_of

OBJECTS = ("net", "target", "teacher", "posterior")  # which Keras serializes as objects
_SIZES = "label_sizes"


def config(model: Any) -> dict[str, Any]:
    """Return the arguments of SobolevModel's constructor, as `get_config` does; its posterior."""
    posterior = {}
    if model.posterior is not None:
        posterior["posterior"] = keras.saving.serialize_keras_object(model.posterior)
    return {
        "name": model.name,
        "net": serialize_net(model.net),
        "order": model.order,
        "target": targets.serialize(model.target),
        "wrt": model.wrt,
        "projection": model.projection and dataclasses.asdict(model.projection),
        **posterior,
    }


def write_sizes(store: Any, sizes: dict[str, np.ndarray] | None) -> None:
    """Write the sizes of label components, which `adapt` learned, beside a model's variables.

    Args:
      store: what Keras's `save_own_variables` writes to.
      sizes: [*out,*in × j] by name of order, or None before `adapt`.

    Example:

    >>> store = {"0": np.zeros(3)}
    >>> write_sizes(store, {"d1": np.ones([1, 2])})
    >>> own, sizes = read_sizes(store)
    >>> list(own), sizes
    (['0'], {'d1': array([[1., 1.]])})
    """
    if sizes is None:
        return
    store[_SIZES] = np.array([order_of(name) for name in sizes], "int64")
    for name, size in sizes.items():
        store[f"{_SIZES}_{name}"] = size


def read_sizes(store: Any) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
    """Return what `write_sizes` wrote, None in files without it, and the rest of the store."""
    own = {name: store[name] for name in store.keys() if not name.startswith(_SIZES)}  # noqa: SIM118
    if _SIZES not in store.keys():  # noqa: SIM118
        return own, None
    names = [f"d{order}" for order in np.array(store[_SIZES])]
    return own, {name: np.array(store[f"{_SIZES}_{name}"]) for name in names}


def deserialize(config: dict[str, Any], custom_objects: dict | None = None) -> dict[str, Any]:
    """Return a configuration with its objects made."""
    objects = {
        name: keras.saving.deserialize_keras_object(config[name], custom_objects)
        for name in OBJECTS
        if name in config
    }
    return config | objects
