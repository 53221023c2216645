"""A net as a function of an inner layer's output too, for matching internal derivatives."""

import keras

from sobolev_tf import require
from sobolev_tf.synthetic.splitting import split


def offset_net(net: keras.Model, at: str) -> keras.Model:
    """Build the net as a function of x and of an offset that is added to a layer's output h.

    At offset 0 it is the net, and its derivative in the offset is ∂net/∂h, an internal derivative
    (section 5 names them as future work). With f a teacher and g a student whose layers have
    outputs of one shape,

        target = Teacher(offset_net(f, "name of f's layer"))
        model = SobolevModel(offset_net(g, "name of g's layer"), target=target, wrt="offset")
        model.fit({"x": x, "offset": zeros})

    matches g's derivative at its own h with f's at f's h; wrt=["x", "offset"] matches those in the
    inputs as well. The new model shares all weights with the net.

    Args:
      net: a functional or sequential model of one input x [B,*in], and one output.
      at: the layer's name. What follows may depend on what comes before only through its output,
        as in `split`.

    Returns:
      A Keras model {"x": [B,*in], "offset": [B,*H]} -> [B,*out].

    Raises:
      ValueError: for a net of several inputs, or a layer that `split` cannot cut at.

    Example:

    >>> layers = [keras.layers.Dense(4, "tanh", name="hidden"), keras.layers.Dense(1)]
    >>> model = offset_net(keras.Sequential([keras.Input([2]), *layers]), at="hidden")
    >>> {name: tensor.shape for name, tensor in model.input.items()}
    {'x': (None, 2), 'offset': (None, 4)}
    """
    require.model("offset_net", "net", net)
    if len(getattr(net, "inputs", None) or []) != 1:
        raise ValueError(
            "offset_net takes a built net of one input: start the net with keras.Input."
        )
    lower, upper = split(net, at=[at])
    [x], [h] = lower.inputs, lower.outputs
    inputs = {
        "x": keras.Input(x.shape[1:], dtype=x.dtype, name="x"),
        "offset": keras.Input(h.shape[1:], dtype=h.dtype, name="offset"),
    }
    moved = keras.layers.Add(dtype=h.dtype)([lower(inputs["x"]), inputs["offset"]])
    return keras.Model(inputs, upper(moved))
