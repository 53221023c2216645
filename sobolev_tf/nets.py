"""Networks of the paper's experiments, as plain Keras models."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import require


def mlp(
    inputs: int,
    outputs: int = 1,
    hidden: Sequence[int] = (256, 256),
    activation: str | Callable = "relu",
    dtype: str | None = None,
) -> keras.Model:
    """Build a multilayer perceptron; the defaults are section 4.1's regression net.

    Args:
      inputs: D, the number of inputs.
      outputs: K, the number of outputs.
      hidden: units of each hidden layer.
      activation: activation of the hidden layers. Orders above 1 need a smooth one, such as "silu".
      dtype: the net's dtype, such as "float64" for `fit_least_squares`; default: Keras's.

    Returns:
      A Keras model [B,D] -> [B,K].

    Example:

    >>> mlp(2).output_shape
    (None, 1)
    """
    inputs, outputs, hidden = _sizes("mlp", inputs, outputs, hidden)
    input_dtype = _input_dtype("mlp", activation, dtype)
    layers = [keras.layers.Dense(units, activation, dtype=dtype) for units in hidden]
    last = keras.layers.Dense(outputs, dtype=dtype)
    return keras.Sequential([keras.Input([inputs], dtype=input_dtype), *layers, last])


def sine_mlp(
    inputs: int,
    outputs: int = 1,
    hidden: Sequence[int] = (64, 64),
    dtype: str | None = "float64",
) -> keras.Model:
    """Build a net with sine activations, for smooth oscillating functions of a few inputs.

    Scale inputs to z-scores (`SobolevModel.adapt`). The first layer starts with random phases, and
    frequencies of at most one radian per standard deviation of each input; the other layers start
    as in `mlp`. The default is float64, for `fit_lbfgs` and `fit_least_squares`.

    Args:
      inputs: D, the number of inputs.
      outputs: K, the number of outputs.
      hidden: units of each hidden layer.
      dtype: the net's dtype.

    Returns:
      A Keras model [B,D] -> [B,K].

    Example:

    >>> sine_mlp(2).output_shape
    (None, 1)
    """
    inputs, outputs, hidden = _sizes("sine_mlp", inputs, outputs, hidden)
    input_dtype = _input_dtype("sine_mlp", sine, dtype)
    if not hidden:
        raise ValueError("sine_mlp: hidden has no layer, at least 1 is needed.")
    first = keras.layers.Dense(
        hidden[0],
        sine,
        kernel_initializer=keras.initializers.RandomUniform(-1.0, 1.0),
        bias_initializer=keras.initializers.RandomUniform(-math.pi, math.pi),
        dtype=dtype,
    )
    others = [keras.layers.Dense(units, sine, dtype=dtype) for units in hidden[1:]]
    last = keras.layers.Dense(outputs, dtype=dtype)
    return keras.Sequential([keras.Input([inputs], dtype=input_dtype), first, *others, last])


@keras.saving.register_keras_serializable(package="sobolev_tf")
def sine(x: Any) -> Any:
    """Compute sin x; registered with Keras, so that models with this activation can be loaded."""
    return keras.ops.sin(x)


def cifar10(classes: int = 10, width: float = 1.0, size: int = 32) -> keras.Model:
    """Build section 4.3's net for CIFAR-10: eleven 3x3 convolutions, then a linear layer.

    Each convolution is followed by BatchNorm and a ReLU, named `conv1_out` to `conv11_out`.
    Channels: 64, 64, 128/2, 128, 128, 256/2, 256, 256, 512/2, 512, 512, times `width`; /2 means
    a stride of 2.

    Args:
      classes: K, the number of classes.
      width: factor of the number of channels.
      size: H and W, the size of the images.

    Returns:
      A Keras model, images [B,H,W,3] -> logits [B,K].

    Example:

    >>> cifar10(width=0.25).get_layer("conv8_out").output.shape
    (None, 8, 8, 64)
    """
    classes = require.whole_number("cifar10", "classes", classes, at_least=1)
    width = require.number("cifar10", "width", width, above=0)
    size = require.whole_number("cifar10", "size", size, at_least=1)
    x = inputs = keras.Input([size, size, 3])
    channels = [64, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512]
    for k, count in enumerate(channels, 1):
        filters = max(1, round(width * count))
        strides = 2 if count > channels[max(k - 2, 0)] else 1
        x = keras.layers.Conv2D(filters, 3, strides, "same", use_bias=False, name=f"conv{k}")(x)
        x = keras.layers.BatchNormalization(name=f"conv{k}_bn")(x)
        x = keras.layers.ReLU(name=f"conv{k}_out")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x), name="cifar10")


def atari_teacher(actions: int, background: float = 0.0) -> keras.Model:
    """Build section 4.2's teacher, a net with a policy and a value.

    Weights start orthogonal, as is usual for actor-critic methods; the policy starts close to
    uniform.

    Args:
      actions: A, the number of actions.
      background: the gray level that the net sees as zero. On a mostly gray screen, units would
        otherwise respond mainly to the gray.

    Returns:
      A Keras model, frames [B,84,84,4] of 0..255 -> logits [B,A] and value [B,1].

    Example:

    >>> atari_teacher(4).output_shape
    [(None, 4), (None, 1)]
    """
    actions = require.whole_number("atari_teacher", "actions", actions, at_least=1)
    inputs, h = _atari_trunk([(32, 8, 4), (64, 4, 2), (64, 3, 1)], 512, background)
    logits = keras.layers.Dense(
        actions, kernel_initializer=keras.initializers.Orthogonal(0.01), name="logits"
    )(h)
    value = keras.layers.Dense(1, kernel_initializer="orthogonal", name="value")(h)
    return keras.Model(inputs, [logits, value], name="atari_teacher")


def atari_student(actions: int, background: float = 0.0) -> keras.Model:
    """Build section 4.2's student, a smaller net than `atari_teacher`.

    Args:
      actions: A, the number of actions.
      background: as in `atari_teacher`.

    Returns:
      A Keras model, frames [B,84,84,4] of 0..255 -> logits [B,A].

    Example:

    >>> atari_student(4).output_shape
    (None, 4)
    """
    actions = require.whole_number("atari_student", "actions", actions, at_least=1)
    inputs, h = _atari_trunk([(16, 8, 4), (32, 4, 2)], 256, background, first=PatchConv2D)
    return keras.Model(inputs, keras.layers.Dense(actions, name="logits")(h), name="atari_student")


@keras.saving.register_keras_serializable(package="sobolev_tf")
class PatchConv2D(keras.layers.Conv2D):
    """A Conv2D whose gradient with respect to the image, which Sobolev training needs, is fast.

    Patches of stride x stride pixels become the channels of a convolution of stride 1. Weights
    and outputs are those of Conv2D; the gradient is several times as fast. This needs "valid"
    padding, and images and kernels whose sides are multiples of the stride; otherwise the layer
    computes a plain Conv2D.

    >>> images = tf.random.normal([2, 8, 8, 3])
    >>> layers = PatchConv2D(5, 4, 2), keras.layers.Conv2D(5, 4, 2)
    >>> ours, theirs = layers[0](images), layers[1](images)
    >>> layers[1].set_weights(layers[0].get_weights())
    >>> bool(tf.reduce_max(tf.abs(ours - layers[1](images))) < 1e-5)
    True
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolve images [B,H,W,C], by patches if they fit."""
        (stride, _), (side, _, channels, filters) = self.strides, kernel.shape
        cut = any(length is None or length % stride for length in inputs.shape[1:3])
        if cut or not _fits_patches(self):
            return super().convolution_op(inputs, kernel)
        blocks = side // stride
        kernel = tf.reshape(kernel, [blocks, stride, blocks, stride, channels, filters])
        kernel = tf.transpose(kernel, [0, 2, 1, 3, 4, 5])
        kernel = tf.reshape(kernel, [blocks, blocks, stride**2 * channels, filters])
        return tf.nn.conv2d(tf.nn.space_to_depth(inputs, stride), kernel, 1, "VALID")


def _fits_patches(layer: keras.layers.Conv2D) -> bool:
    """Whether patches can replace a Conv2D, for images whose sides are multiples of the stride."""
    (stride, across), (side, width) = layer.strides, layer.kernel_size
    plain = layer.padding == "valid" and layer.data_format == "channels_last" and layer.groups == 1
    return plain and stride == across > 1 and side == width and side % stride == 0


def with_patch_convolutions(net: keras.Model) -> keras.Model:
    """Replace each Conv2D of `net` by an equivalent `PatchConv2D` if there is one.

    For teachers: weights and outputs stay the same, gradients with respect to the image are faster.
    The convolutions are copies; all other layers are those of `net`.

    Args:
      net: a Keras model.

    Returns:
      The new model; `net` itself if it is not a built graph of layers.

    Raises:
      ValueError: `net` is not a Keras model.

    Example:

    >>> [type(layer).__name__ for layer in with_patch_convolutions(atari_teacher(4)).layers[2:5]]
    ['PatchConv2D', 'PatchConv2D', 'Conv2D']
    """
    require.model("with_patch_convolutions", "net", net)
    graph = type(net) is keras.Sequential or isinstance(net, keras.Function)
    if not (graph and net.built):
        return net
    copy = keras.models.clone_model(net, clone_function=_as_patch_convolution, recursive=True)
    copy.set_weights(net.get_weights())
    return copy


def _as_patch_convolution(layer: keras.layers.Layer) -> keras.layers.Layer:
    if type(layer) is keras.layers.Conv2D and _fits_patches(layer):
        return PatchConv2D.from_config(layer.get_config())
    return layer


def _sizes(caller: str, inputs: int, outputs: int, hidden: Sequence[int]) -> tuple:
    return (
        require.whole_number(caller, "inputs", inputs, at_least=1),
        require.whole_number(caller, "outputs", outputs, at_least=1),
        require.lengths(caller, "hidden", hidden),
    )


def _input_dtype(caller: str, activation: Any, dtype: Any) -> str | None:
    """The dtype of x, float32 under mixed precision; ValueError if Keras does not know it."""
    try:
        keras.activations.get(activation)
    except (TypeError, ValueError) as error:
        got = require.shown(activation)
        raise ValueError(f"{caller}: activation is Keras's or a function, got {got}.") from error
    try:
        policy = keras.dtype_policies.get(dtype)
    except (TypeError, ValueError):
        policy = None
    if policy is None or "float" not in policy.compute_dtype:
        raise ValueError(
            f"{caller}: dtype is a floating one, such as 'float32', got {require.shown(dtype)}."
        )
    return None if dtype is None else policy.variable_dtype


def _atari_trunk(
    convolutions: list, units: int, background: float, first: type = keras.layers.Conv2D
) -> tuple:
    """Scale 255 to 1, then convolutions (filters, kernel, stride) and a dense layer, all ReLU."""

    def relu():
        return {"activation": "relu", "kernel_initializer": keras.initializers.Orthogonal(2**0.5)}

    inputs = keras.Input([84, 84, 4], name="frames")
    h = keras.layers.Rescaling(1 / 255, -background / 255)(inputs)
    for k, (filters, kernel, stride) in enumerate(convolutions, 1):
        convolution = first if k == 1 else keras.layers.Conv2D
        h = convolution(filters, kernel, stride, name=f"conv{k}", **relu())(h)
    return inputs, keras.layers.Dense(units, name="hidden", **relu())(keras.layers.Flatten()(h))
