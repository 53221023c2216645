"""Networks of the paper's experiments, as plain Keras models."""

import keras


def mlp(inputs: int, outputs: int = 1, hidden=(256, 256), activation="relu") -> keras.Model:
    """A multilayer perceptron [B,D] -> [B,K]; the defaults are section 4.1's regression net.

    >>> mlp(2).output_shape
    (None, 1)
    """
    layers = [keras.layers.Dense(units, activation=activation) for units in hidden]
    return keras.Sequential([keras.Input([inputs]), *layers, keras.layers.Dense(outputs)])
