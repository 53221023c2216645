"""Networks of the paper's experiments, as plain Keras models."""

import keras


def mlp(
    inputs: int, outputs: int = 1, hidden=(256, 256), activation="relu", dtype=None
) -> keras.Model:
    """A multilayer perceptron [B,D] -> [B,K]; the defaults are section 4.1's regression net.

    dtype: the net's precision, such as "float64" for `fit_lbfgs`; Keras's own if None.

    >>> mlp(2).output_shape
    (None, 1)
    """
    layers = [keras.layers.Dense(units, activation=activation, dtype=dtype) for units in hidden]
    last = keras.layers.Dense(outputs, dtype=dtype)
    return keras.Sequential([keras.Input([inputs], dtype=dtype), *layers, last])
