"""Configurations of nets, as a saved model holds them."""

from typing import Any

import keras


def serialize_net(net: Any) -> dict:
    """Return a net's configuration for a saved model, without the net's own `compile`.

    Example:

    >>> net = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    >>> net.compile("sgd", "mse")
    >>> sorted(serialize_net(net))
    ['build_config', 'class_name', 'config', 'module', 'registered_name']
    """
    config = keras.saving.serialize_keras_object(net)
    config.pop("compile_config", None)
    return config
