"""Warnings about nets that cannot learn derivatives, or not exactly."""

from collections.abc import Callable

import keras

from sobolev_tf import warn

# Between their kinks these are linear, and so is a net of them: its second derivative is zero.
_LINEAR_PIECES = (
    "linear", "relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_tanh", "threshold",
)  # fmt: skip
_LINEAR_LAYERS = (
    keras.layers.InputLayer,
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Dropout,
    keras.layers.BatchNormalization,
    keras.layers.Normalization,
    keras.layers.Rescaling,
    keras.layers.Add,
    keras.layers.Concatenate,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.ZeroPadding2D,
)


def warn_about_net(net: keras.Model, order: int) -> None:
    """Warn if a net cannot learn derivatives of this order, or not exactly.

    At order 2 or more, a piecewise linear net: its second derivatives are zero everywhere. At
    order 1 or more, BatchNormalization that is trained: it couples the rows of a batch.

    Args:
      net: a built Keras model.
      order: the highest derivative that it is to learn.

    Example:

    >>> import warnings
    >>> relu = keras.Sequential([keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
    >>> relu.build((None, 2))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_about_net(relu, order=2)
    >>> str(caught[0].message)[:52]
    'the net is piecewise linear: its derivatives of orde'
    """
    layers = [layer for layer in net._flatten_layers() if not isinstance(layer, keras.Model)]
    if order >= 2 and _piecewise_linear(layers):
        warn.at_users_line(
            "the net is piecewise linear: its derivatives of order 2 and up are zero, whatever "
            'it learns. Use a smooth activation, such as "silu", "softplus" or "tanh".'
        )
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    if order and any(layer.trainable for layer in norms):
        warn.at_users_line(
            f"{norms[0].name} normalizes over the batch in training: slopes are then those of the "
            "whole batch, not those of predict. Before linear layers only, they are zero. Use "
            "LayerNormalization, or freeze the layer once it is trained (layer.trainable = False)."
        )


def refuse_to_move_masks(
    caller: str, net: keras.Model, is_scaled: Callable[[keras.KerasTensor], bool]
) -> None:
    """Refuse z-scores of x before a Masking layer: padding would no longer be its mask value.

    Args:
      caller: the method that the error names.
      net: a Keras model.
      is_scaled: tells whether a keras.Input of the net is scaled.

    Raises:
      ValueError: the net masks an input that is scaled.
    """
    inputs = {id(t): t for t in getattr(net, "inputs", None) or []}
    for layer in net._flatten_layers():
        if not isinstance(layer, keras.layers.Masking):
            continue
        # With several inputs, a mask may be of one that is not scaled.
        masked = inputs.get(id(getattr(layer, "input", None)))
        if masked is not None and not is_scaled(masked):
            continue
        raise ValueError(
            f"{caller}: z-scores move x, and {layer.name} masks x at {layer.mask_value}: padded "
            "steps would not be masked, and would count as data. Take adapt(..., scale_x=False), "
            "which scales y alone."
        )


def _piecewise_linear(layers: list) -> bool:
    known = all(type(layer) in _LINEAR_LAYERS for layer in layers)
    activations = [layer.activation for layer in layers if hasattr(layer, "activation")]
    names = [getattr(activation, "__name__", "") for activation in activations]
    return bool(layers) and known and all(name in _LINEAR_PIECES for name in names)
