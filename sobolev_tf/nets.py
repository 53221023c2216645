"""Networks of the paper's experiments, as plain Keras models."""

import keras


def mlp(inputs: int, outputs: int = 1, hidden=(256, 256), activation="relu") -> keras.Model:
    """A multilayer perceptron [B,D] -> [B,K]; the defaults are section 4.1's regression net.

    >>> mlp(2).output_shape
    (None, 1)
    """
    layers = [keras.layers.Dense(units, activation=activation) for units in hidden]
    return keras.Sequential([keras.Input([inputs]), *layers, keras.layers.Dense(outputs)])


def cifar10(classes: int = 10, width: float = 1.0, size: int = 32) -> keras.Model:
    """Section 4.3's net for CIFAR-10: eleven 3x3 convolutions with BatchNorm and ReLU, then linear.

    Channels 64, 64, 128/2, 128, 128, 256/2, 256, 256, 512/2, 512, 512 (/2: of stride 2), times
    `width`. [B,size,size,3] -> logits [B,classes]; the ReLUs are `conv1_out` to `conv11_out`.

    >>> cifar10(width=0.25).get_layer("conv8_out").output.shape
    (None, 8, 8, 64)
    """
    x = inputs = keras.Input([size, size, 3])
    channels = [64, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512]
    for k, each in enumerate(channels, 1):
        strides = 2 if each > channels[max(k - 2, 0)] else 1
        x = keras.layers.Conv2D(
            max(1, round(width * each)), 3, strides, "same", use_bias=False, name=f"conv{k}"
        )(x)
        x = keras.layers.BatchNormalization(name=f"conv{k}_bn")(x)
        x = keras.layers.ReLU(name=f"conv{k}_out")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x), name="cifar10")
