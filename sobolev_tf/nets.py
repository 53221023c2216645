"""Networks of the paper's experiments, as plain Keras models."""

import keras


def mlp(inputs: int, outputs: int = 1, hidden=(256, 256), activation="relu") -> keras.Model:
    """A multilayer perceptron [B,D] -> [B,K]; the defaults are section 4.1's regression net.

    >>> mlp(2).output_shape
    (None, 1)
    """
    layers = [keras.layers.Dense(units, activation=activation) for units in hidden]
    return keras.Sequential([keras.Input([inputs]), *layers, keras.layers.Dense(outputs)])


def atari_teacher(actions: int) -> keras.Model:
    """Section 4.2's teacher, [B,84,84,4] frames of 0..255 -> logits [B,A] and value [B,1].

    Orthogonal weights, as actor-critic recipes have them; the policy starts close to uniform.

    >>> atari_teacher(4).output_shape
    [(None, 4), (None, 1)]
    """
    inputs, h = _atari_trunk([(32, 8, 4), (64, 4, 2), (64, 3, 1)], 512)
    logits = keras.layers.Dense(
        actions, kernel_initializer=keras.initializers.Orthogonal(0.01), name="logits"
    )(h)
    value = keras.layers.Dense(1, kernel_initializer="orthogonal", name="value")(h)
    return keras.Model(inputs, [logits, value], name="atari_teacher")


def atari_student(actions: int) -> keras.Model:
    """Section 4.2's student, a smaller net: [B,84,84,4] frames of 0..255 -> logits [B,A].

    >>> atari_student(4).output_shape
    (None, 4)
    """
    inputs, h = _atari_trunk([(16, 8, 4), (32, 4, 2)], 256)
    return keras.Model(inputs, keras.layers.Dense(actions, name="logits")(h), name="atari_student")


def _atari_trunk(convolutions, units):
    """Scales to 0..1, then convolutions (filters, kernel, stride) and a dense layer, all ReLU."""

    def relu():
        return {"activation": "relu", "kernel_initializer": keras.initializers.Orthogonal(2**0.5)}

    inputs = keras.Input([84, 84, 4], name="frames")
    h = keras.layers.Rescaling(1 / 255)(inputs)
    for k, (filters, kernel, stride) in enumerate(convolutions, 1):
        h = keras.layers.Conv2D(filters, kernel, stride, name=f"conv{k}", **relu())(h)
    return inputs, keras.layers.Dense(units, name="hidden", **relu())(keras.layers.Flatten()(h))
