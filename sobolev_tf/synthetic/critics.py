"""The modules at a cut, as plain Keras models: what each is built from, and whether it fits.

A *critic* predicts the network's outputs from h; its loss is then a prediction of the network's.
A *direct module* gives a gradient from h and y (section 4.3, SM 4).
"""

import keras


def imagenet_critic(shape, outputs):
    """The paper's module for ImageNet (SM 4.2): p(h) for activations h of `shape` (H, W, C).

    conv 64 3x3/1, ReLU, conv 64 3x3/2, ReLU, global average, linear to `outputs` logits.
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


def cifar_critic(shape, outputs, channels=128):
    """The paper's module for CIFAR-10 (SM 4.1): p(h) for activations h of `shape` (H, W, C).

    conv 128 3x3/1, ReLU, linear to `outputs` logits. `channels` in place of 128, for small nets.
    """
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(channels, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(outputs),
        ]
    )


def dense_critic(shape, outputs):
    """A module for flat activations: linear to 64, SiLU, linear to `outputs`."""
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="silu"),
            keras.layers.Dense(outputs),
        ]
    )


def direct_module(shape, outputs, channels=128, start="zeros"):
    """The paper's module of direct synthetic gradients: g(h, y) for h of `shape` (H, W, C).

    Three 3x3 convolutions to 128 (`channels`) that keep the resolution, with ReLU between, then
    linear, 1x1, to the C channels of h. y [B, outputs], one-hot, comes as further channels of the
    input. The last layer starts at zero, as Jaderberg et al. (2017) start theirs; `start` is any
    other initializer of Keras.
    """
    h, y = keras.Input(shape, name="h"), keras.Input([outputs], name="y")
    planes = keras.layers.Reshape([1, 1, outputs])(y)
    planes = keras.layers.UpSampling2D(shape[:2])(planes)
    x = keras.layers.Concatenate()([h, planes])
    for k in range(3):
        activation = "relu" if k < 2 else None
        x = keras.layers.Conv2D(channels, 3, padding="same", activation=activation)(x)
    last = keras.layers.Conv2D(shape[-1], 1, kernel_initializer=start)
    return keras.Model([h, y], last(x))


def build(stages, builder, direct=False):
    """One module for each cut, built for the shape of h and the network's outputs.

    Args:
      stages: a network's stages, as `split` returns them.
      builder: of (shape, outputs), such as `imagenet_critic`, or a list of models.
      direct: whether the modules take [h, y] and give gradients, as `direct_module` does.

    Raises:
      ValueError: if the number of modules, or one's shapes, do not fit the network.
    """
    cuts, outputs = stages[:-1], stages[-1].output_shape[1:]
    if callable(builder) and not isinstance(builder, keras.Model):
        critics = [_built(builder, k, cut, outputs[-1]) for k, cut in enumerate(cuts)]
        activation = getattr(stages[-1].layers[-1], "activation", None)
        if not direct and activation not in (None, keras.activations.linear):
            critics = [keras.Sequential([c, keras.layers.Activation(activation)]) for c in critics]
    else:
        critics = (
            list(builder or []) if isinstance(builder, (list, tuple, type(None))) else [builder]
        )
    if len(critics) != len(cuts):
        raise ValueError(
            f"DecoupledModel: expected a critic builder, or {len(cuts)} critics, one for "
            f"each cut; given {len(critics)}."
        )
    for k, (critic, stage) in enumerate(zip(critics, cuts, strict=True)):
        _check(critic, f"the critic at cut {k + 1}", stage.output_shape[1:], outputs, direct)
    return critics


def _check(critic, name, h, outputs, direct):
    takes, gives = ([h, outputs], h) if direct else ([h], outputs)
    if not getattr(critic, "inputs", None):
        raise ValueError(
            f"DecoupledModel: {name} is {critic!r}, expected a keras.Model whose inputs are "
            "known: one with keras.Input."
        )
    given = [tuple(t.shape[1:]) for t in critic.inputs]
    if given != takes:
        whose = "those of h and y" if direct else "that of the cut"
        shown, expected = (", ".join(map(str, each)) for each in (given, takes))
        raise ValueError(
            f"DecoupledModel: {name} takes inputs of shape {shown}, expected {whose}, {expected}."
        )
    if critic.output_shape[1:] != gives:
        whose = "that of the cut" if direct else "the network's own"
        raise ValueError(
            f"DecoupledModel: {name} gives outputs of shape {critic.output_shape[1:]}, "
            f"expected {whose}, {gives}."
        )


def _built(builder, k, stage, outputs):
    h = stage.output_shape[1:]
    try:
        return builder(h, outputs)
    except (TypeError, ValueError) as error:
        function = getattr(builder, "func", builder)  # of a partial
        raise ValueError(
            f"DecoupledModel: {getattr(function, '__name__', function)} makes no critic for cut "
            f"{k + 1}, where h is {list(h)}: {error}"
        ) from error
