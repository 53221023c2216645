"""Critics and direct modules as plain Keras models: their architectures, and whether they fit.

A *critic* predicts the network's outputs from h; its loss is then a prediction of the network's.
A *direct module* gives a gradient from h and y (section 4.3, SM 4).
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras


def imagenet_critic(shape: Sequence[int], outputs: int) -> keras.Model:
    """Build the paper's critic for ImageNet (SM 4.3): p(h) for activations h.

    conv 64 3x3/1, ReLU, conv 64 3x3/2, ReLU, global average, linear to `outputs` logits.

    Args:
      shape: (H, W, C), of h without B.
      outputs: how many logits the network has.

    Returns:
      A Keras model from h [B, H, W, C] to [B, outputs].
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
    """Build the paper's critic for CIFAR-10 (SM 4.2): p(h) for activations h.

    conv 128 3x3/1, ReLU, linear to `outputs` logits.

    Args:
      shape: (H, W, C), of h without B.
      outputs: how many logits the network has.
      channels: in place of 128, for small nets.

    Returns:
      A Keras model from h [B, H, W, C] to [B, outputs].
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
    """Build a critic for flat activations: linear to 64, SiLU, linear to `outputs`.

    Args:
      shape: of h without B.
      outputs: how many outputs the network has.

    Returns:
      A Keras model from h [B, *H] to [B, outputs].
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
    """Build the paper's module of direct synthetic gradients (SM 4.2): g(h, y).

    Three 3x3 convolutions to 128 channels that keep the resolution, with ReLU between, then
    linear, 1x1, to the C channels of h. y [B, outputs], one-hot, comes as further channels of the
    input.

    Args:
      shape: (H, W, C), of h without B.
      outputs: how many classes there are.
      channels: in place of 128, for small nets.
      initializer: of the last layer's kernel; zeros, as Jaderberg et al. (2017) start theirs.

    Returns:
      A Keras model from [h [B, H, W, C], y [B, outputs]] to [B, H, W, C].
    """
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
    """Build a critic for each cut, for the shape of h and the network's outputs.

    Args:
      stages: a network's stages, as `split` returns them.
      critic: a function of (shape, outputs), such as `imagenet_critic`, or a list of models. A
        critic that is built here ends in the network's own final activation.
      direct: whether they take [h, y] and give gradients, as `direct_module` does.

    Raises:
      ValueError: if the number of critics, or one's shapes, do not fit the network, or if one
        stands at two cuts.
    """
    cuts, outputs = stages[:-1], stages[-1].output_shape[1:]
    if callable(critic) and not isinstance(critic, keras.Model):
        critics = [_build_one(critic, k, cut, outputs[-1]) for k, cut in enumerate(cuts)]
        activation = getattr(stages[-1].layers[-1], "activation", None)
        if not direct and activation not in (None, keras.activations.linear):
            critics = [keras.Sequential([c, keras.layers.Activation(activation)]) for c in critics]
    else:
        critics = list(critic or []) if isinstance(critic, (list, tuple, type(None))) else [critic]
    if len(critics) != len(cuts):
        raise ValueError(
            f"expected a critic builder, or {len(cuts)} critics, one for each cut; got "
            f"{len(critics)}."
        )
    for k, (model, stage) in enumerate(zip(critics, cuts, strict=True)):
        _check(model, f"the critic at cut {k + 1}", stage.output_shape[1:], outputs, direct)
        first = [other is model for other in critics].index(True)
        if first < k:
            raise ValueError(
                f"the critic at cut {k + 1} is the one at cut {first + 1}; each cut needs its own."
            )
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
