"""Networks of the paper's experiments, as plain Keras models."""

import math

import keras


def mlp(
    inputs: int, outputs: int = 1, hidden=(256, 256), activation="relu", dtype=None
) -> keras.Model:
    """A multilayer perceptron [B,D] -> [B,K]; the defaults are section 4.1's regression net.

    dtype: the net's precision, such as "float64" for `fit_lbfgs`; Keras's own if None.

    >>> mlp(2).output_shape
    (None, 1)
    """
    layers = [keras.layers.Dense(units, activation, dtype=dtype) for units in hidden]
    last = keras.layers.Dense(outputs, dtype=dtype)
    return keras.Sequential([keras.Input([inputs], dtype=dtype), *layers, last])


def sine_mlp(inputs: int, outputs: int = 1, hidden=(64, 64), dtype="float64") -> keras.Model:
    """A net of sines [B,D] -> [B,K] for smooth functions of a few z-scored inputs, from few points.

    The first layer starts as waves of every phase, some radians long across the data; all further
    ones as in `mlp`. In float64, for `fit_lbfgs`.

    >>> sine_mlp(2).output_shape
    (None, 1)
    """
    starts = {
        "kernel_initializer": keras.initializers.RandomUniform(-1.0, 1.0),
        "bias_initializer": keras.initializers.RandomUniform(-math.pi, math.pi),
    }
    layers = [
        keras.layers.Dense(units, sine, dtype=dtype, **(starts if k == 0 else {}))
        for k, units in enumerate(hidden)
    ]
    last = keras.layers.Dense(outputs, dtype=dtype)
    return keras.Sequential([keras.Input([inputs], dtype=dtype), *layers, last])


@keras.saving.register_keras_serializable(package="sobolev_tf")
def sine(x):
    """sin x: an activation that loads with a saved model."""
    return keras.ops.sin(x)
