"""The configuration of a SobolevModel in a .keras file."""

import dataclasses
from typing import Any

import keras

from sobolev_tf import targets

OBJECTS = ("net", "target", "teacher", "posterior")  # which Keras serializes as objects


def config(model: Any) -> dict[str, Any]:
    """Return the arguments of SobolevModel's constructor, as `get_config` does; its posterior."""
    posterior = {}
    if model.posterior is not None:
        posterior["posterior"] = keras.saving.serialize_keras_object(model.posterior)
    return {
        "name": model.name,
        "net": targets.serialize_net(model.net),
        "order": model.order,
        "target": targets.serialize(model.target),
        "wrt": model.wrt,
        "projection": model.projection and dataclasses.asdict(model.projection),
        **posterior,
    }


def deserialize(config: dict[str, Any], custom_objects: dict | None = None) -> dict[str, Any]:
    """Return a configuration with its objects made."""
    objects = {
        name: keras.saving.deserialize_keras_object(config[name], custom_objects)
        for name in OBJECTS
        if name in config
    }
    return config | objects
