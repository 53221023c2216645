"""Architectures of critics and direct modules, as plain Keras models (section 4.3, SM 4).

A *critic* predicts the network's outputs from h, and so its loss. A *direct module* predicts the
gradient from h and y.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from sobolev_tf.keras_support.logits import activation_layer


def imagenet_critic(shape: Sequence[int], outputs: int) -> keras.Model:
    """Build the paper's critic for ImageNet (SM 4.3).

    Layers: convolution 3x3 to 64 channels, ReLU, convolution 3x3 to 64 channels with stride 2,
    ReLU, global average, linear.

    Args:
      shape: (H, W, C), the shape of h without B.
      outputs: K, the number of the network's outputs.

    Returns:
      A Keras model, h [B,H,W,C] -> [B,K].

    Example:

    >>> imagenet_critic([8, 8, 16], 10).output_shape
    (None, 10)
    """
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(64, 3, strides=2, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(outputs),
        ]
    )


def cifar_critic(shape: Sequence[int], outputs: int, channels: int = 128) -> keras.Model:
    """Build the paper's critic for CIFAR-10 (SM 4.2).

    Layers: convolution 3x3 to 128 channels, ReLU, linear.

    Args:
      shape: (H, W, C), the shape of h without B.
      outputs: K, the number of the network's outputs.
      channels: number of channels; fewer than the paper's 128 for small nets.

    Returns:
      A Keras model, h [B,H,W,C] -> [B,K].

    Example:

    >>> cifar_critic([8, 8, 16], 10).output_shape
    (None, 10)
    """
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(channels, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(outputs),
        ]
    )


def dense_critic(shape: Sequence[int], outputs: int) -> keras.Model:
    """Build a critic for flat activations: linear to 64 units, SiLU, linear.

    Args:
      shape: the shape of h without B.
      outputs: K, the number of the network's outputs.

    Returns:
      A Keras model, h [B,*H] -> [B,K].

    Example:

    >>> dense_critic([32], 10).output_shape
    (None, 10)
    """
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="silu"),
            keras.layers.Dense(outputs),
        ]
    )


def direct_module(
    shape: Sequence[int],
    outputs: int,
    channels: int = 128,
    initializer: str | keras.initializers.Initializer = "zeros",
) -> keras.Model:
    """Build the paper's module of direct synthetic gradients (SM 4.2).

    Layers: three convolutions 3x3 to 128 channels, which keep the resolution, with ReLU in between,
    then a convolution 1x1 to the C channels of h. One-hot labels y are concatenated to h as
    channels.

    Args:
      shape: (H, W, C), the shape of h without B.
      outputs: K, the number of classes.
      channels: number of channels; fewer than the paper's 128 for small nets.
      initializer: initializer of the last layer's kernel; zeros as in Jaderberg et al. (2017).

    Returns:
      A Keras model, [h [B,H,W,C], y [B,K]] -> [B,H,W,C].

    Raises:
      ValueError: h has no fixed [H,W,C].

    Example:

    >>> direct_module([8, 8, 16], 10, channels=4).output_shape
    (None, 8, 8, 16)
    """
    if len(shape) != 3 or None in shape:
        raise ValueError(
            f"direct_module takes h of shape [H,W,C], got {list(shape)}: for any other h, pass a "
            "function (shape, outputs) that returns a Keras model of your own, [h, y] -> gradient."
        )
    h, y = keras.Input(shape, name="h"), keras.Input([outputs], name="y")
    planes = keras.layers.Reshape([1, 1, outputs])(y)
    planes = keras.layers.UpSampling2D(shape[:2])(planes)
    x = keras.layers.Concatenate()([h, planes])
    for k in range(3):
        activation = "relu" if k < 2 else None
        x = keras.layers.Conv2D(channels, 3, padding="same", activation=activation)(x)
    last = keras.layers.Conv2D(shape[-1], 1, kernel_initializer=initializer)
    return keras.Model([h, y], last(x))


def build(
    stages: Sequence[keras.Model],
    critic: Callable | keras.Model | Sequence[keras.Model] | None,
    direct: bool = False,
) -> list[keras.Model]:
    """Build or check the critics, one for each cut.

    Args:
      stages: a network's stages, as `split` returns them.
      critic: a function (shape, outputs) -> critic, such as `imagenet_critic`, or a list of models.
        Critics made by a function get the network's final activation.
      direct: whether critics are modules such as `direct_module`, [h, y] -> gradient.

    Returns:
      A list of Keras models.

    Raises:
      ValueError: the number of critics or their shapes do not fit the network.
    """
    cuts, outputs = stages[:-1], stages[-1].output_shape[1:]
    if callable(critic) and not isinstance(critic, keras.Model):
        critics = [_build_one(critic, k, cut, outputs[-1]) for k, cut in enumerate(cuts)]
        if not direct:
            critics = [_with_activation(model, stages[-1]) for model in critics]
    else:
        critics = list(critic or []) if isinstance(critic, (list, tuple, type(None))) else [critic]
    if len(critics) != len(cuts):
        builder = "imagenet_critic" if len(cuts[0].output_shape) == 4 else "dense_critic"
        builder = "direct_module" if direct else builder
        advice = "" if critic else f": pass a builder, as in critic=st.synthetic.{builder}"
        raise ValueError(
            f"expected a critic builder, or {len(cuts)} critics, one for each cut; got "
            f"{len(critics)}{advice}."
        )
    for k, (model, stage) in enumerate(zip(critics, cuts, strict=True)):
        _check(model, f"the critic at cut {k + 1}", stage.output_shape[1:], outputs, direct)
    return critics


def _check(critic: Any, name: str, h: tuple, outputs: tuple, direct: bool) -> None:
    takes, gives = ([h, outputs], h) if direct else ([h], outputs)
    if not getattr(critic, "inputs", None):
        raise ValueError(
            f"{name} is {critic!r}, expected a keras.Model whose inputs are known: one with "
            "keras.Input."
        )
    shapes = [tuple(t.shape[1:]) for t in critic.inputs]
    if shapes != takes:
        whose = "those of h and y" if direct else "that of the cut"
        got, expected = (", ".join(map(str, s)) for s in (shapes, takes))
        raise ValueError(f"{name} takes inputs of shape {got}, expected {whose}, {expected}.")
    if critic.output_shape[1:] != gives:
        whose = "that of the cut" if direct else "the network's own"
        raise ValueError(
            f"{name} gives outputs of shape {critic.output_shape[1:]}, expected {whose}, {gives}."
        )


def _build_one(builder, k, stage, outputs):
    h = stage.output_shape[1:]
    try:
        return builder(h, outputs)
    except (TypeError, ValueError) as error:
        function = getattr(builder, "func", builder)  # of a partial
        raise ValueError(
            f"{getattr(function, '__name__', function)} makes no critic for cut {k + 1}, where h "
            f"is {list(h)}: {error}"
        ) from error


def _with_activation(critic, net):
    last = activation_layer(net)
    return critic if last is None else keras.Sequential([critic, last])


def refuse_batch_statistics(critics: Sequence[keras.Model]) -> None:
    """Refuse critics whose answer depends on which other examples are in the batch.

    Raises:
      ValueError: a critic has BatchNormalization.
    """
    for critic in critics:
        for layer in critic._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                raise ValueError(
                    f"derivative_share runs a critic on a share of the examples, and {layer.name} "
                    f"of {critic.name} would take its statistics from these: leave "
                    "derivative_share=1, or take another normalization."
                )
