"""A net's loss as a function of its input, to match what the loss is sensitive to (SM 5)."""

from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.jets import at_least_float32
from sobolev_tf.keras_support.class_losses import refuse_broadcast, takes_classes
from sobolev_tf.keras_support.graph_errors import own_errors
from sobolev_tf.keras_support.logits import warn_about_logits
from sobolev_tf.losses import per_example, resolve


@keras.saving.register_keras_serializable(package="sobolev_tf")
class ExampleLoss(keras.layers.Layer):
    """The loss of every example: outputs [B,*K] and labels [B,...] to [B,1].

    Args:
      loss: a Keras loss, its name, or a function (y_true, y_pred).

    Example:

    >>> ExampleLoss("mse")(tf.constant([[1.0, 3.0]]), tf.constant([[0.0, 0.0]])).numpy().tolist()
    [[5.0]]
    """

    def __init__(self, loss: Any, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.loss = resolve(loss)

    def call(self, outputs: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Compute L [B,1]."""
        refuse_broadcast(self.loss, y, outputs.shape)
        return per_example(self.loss, y, at_least_float32(outputs))[:, None]

    def get_config(self) -> dict:
        return {**super().get_config(), "loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config: dict) -> "ExampleLoss":
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(**{**config, "loss": loss})


def loss_net(net: keras.Model, loss: Any, labels: keras.KerasTensor | None = None) -> keras.Model:
    """Build a Keras model of the net's loss L(net(x), y), with the net's own weights.

    For a teacher f and a student g, gradient-based attention transfer (equation 3 of SM 5) is

        model = SobolevModel(loss_net(g, loss), target=Teacher(loss_net(f, loss)), wrt="x")
        model.compile(loss=[losses.Prediction(), losses.Norm()], loss_weights=[1.0, alpha])
        model.fit({"x": x, "y": y})

    which lowers L(g(x)) + alpha |∂L(g(x))/∂x - ∂L(f(x))/∂x|. With `losses.L1Norm()` in place of
    `losses.Prediction()`, it is Sobolev training of L(g) towards L(f). Both are equal if L(f) is 0
    and L is never negative; otherwise only the latter has its minimum at the teacher (Remark 2).

    Args:
      net: a built net with one input x [B,*in], or with several inputs in a dict.
      loss: a Keras loss, its name, or a function (y_true, y_pred), for each example.
      labels: a keras.Input with the shape and dtype of y. Default: class numbers [B] for a loss
        that takes them, such as a sparse cross-entropy; otherwise like the net's outputs.

    Returns:
      A Keras model {"x": [B,*in], "y": [B,...]} -> [B,1]; several inputs keep their names.

    Raises:
      ValueError: the net is not built, has several outputs, or has inputs without names.

    Example:

    >>> net = keras.Sequential([keras.Input([2]), keras.layers.Dense(3)])
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> value = loss_net(net, loss)({"x": tf.zeros([1, 2]), "y": tf.constant([0])})
    >>> round(float(value[0, 0]), 4)  # log 3
    1.0986
    """
    require.model("loss_net", "net", net)
    counts = [len(getattr(net, side, None) or []) for side in ("inputs", "outputs")]
    graph = counts[0] > 0 and not isinstance(net, keras.Sequential)
    named = graph and isinstance(net.input, dict)
    if counts[1] != 1 or not (named or counts[0] == 1) or (named and "y" in net.input):
        raise ValueError(
            f"loss_net takes a built net of one input and one output, got {counts[0]} and "
            f"{counts[1]}: start the net with keras.Input; name several inputs in a dict, none y."
        )
    [outputs] = net.outputs
    known = net.input if named else {"x": net.inputs[0]}
    loss = resolve(loss)
    warn_about_logits("loss_net", net, loss)
    if labels is None and not takes_classes(loss):
        labels = outputs
    shape, dtype = ([], "int32") if labels is None else (labels.shape[1:], labels.dtype)
    known = {**known, "y": keras.KerasTensor([None, *shape], dtype)}
    inputs = {
        name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
        for name, tensor in known.items()
    }
    y = inputs["y"]
    x = {name: inputs[name] for name in net.input} if named else inputs["x"]
    with own_errors("loss_net"):
        return keras.Model(inputs, ExampleLoss(loss)(net(x), y))
