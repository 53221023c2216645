"""Where true jets come from: given arrays, a differentiable function, a teacher network.

A live target (Function, Teacher) is a callable x [B,*in] -> [B,*out] that `jets` differentiates
inside the training step. A Table holds labels that were computed beforehand.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import jets


@dataclasses.dataclass(frozen=True)
class Table:
    """Points x [B,*in] with their labels (y, d1, ..., dJ), kept together in one order.

    Raises ValueError where the numbers of rows differ.

    >>> table = Table(np.zeros([4, 2]), np.zeros([4, 1]), np.zeros([4, 1, 2]))
    >>> [len(a) for a in (table.x, *table.labels)]
    [4, 4, 4]
    """

    x: np.ndarray
    labels: tuple

    def __init__(self, x, *labels):
        names = ["x", "y", *(f"d{j}" for j in range(1, len(labels)))]
        rows = {name: len(a) for name, a in zip(names, (x, *labels), strict=True)}
        if len(set(rows.values())) > 1:
            raise ValueError(f"Table needs as many rows in every array, got {rows}.")
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "labels", labels)

    def dataset(self, batch_size: int, seed: int = 0) -> tf.data.Dataset:
        """Shuffled full batches without end, cached: give `fit` a steps_per_epoch.

        Small tables train many times faster this way than as arrays, where every pass over the
        table is an epoch of its own.

        >>> x, (y,) = next(iter(Table(np.zeros([4, 2]), np.zeros([4, 1])).dataset(3)))
        >>> x.shape, y.shape
        (TensorShape([3, 2]), TensorShape([3, 1]))
        """
        data = tf.data.Dataset.from_tensor_slices((self.x, self.labels))
        data = data.cache().shuffle(len(self.x), seed=seed).repeat()
        return data.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Function:
    """A differentiable function of TensorFlow operations, x [B,*in] -> [B,*out].

    Saved with a model only if registered with keras.saving.register_keras_serializable;
    otherwise set `model.target` again after loading.

    >>> Function(lambda x: x**2)(tf.constant([3.0])).numpy().tolist()
    [9.0]
    """

    def __init__(self, fn):
        self.fn = fn

    def __call__(self, x):
        return tf.convert_to_tensor(self.fn(x))

    def get_config(self):
        return {"fn": keras.saving.serialize_keras_object(self.fn)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["fn"]))


@keras.saving.register_keras_serializable(package="sobolev_tf")
class Teacher(keras.layers.Layer):
    """A network that teaches (section 4.2): frozen, in inference mode, saved with the student.

    Freezing is `model.trainable = False` on the model that is given; its weights and its
    BatchNormalization statistics are never updated, even if the student's `trainable` is set.

    >>> Teacher(keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])).trainable_weights
    []
    """

    def __init__(self, model, **kwargs):
        super().__init__(autocast=False, **kwargs)
        model.trainable = False
        self.model = model

    @property
    def trainable(self):
        return False

    @trainable.setter
    def trainable(self, value):
        """Stays frozen: the student's setter reaches down to here."""

    def build(self, input_shape):
        if not self.model.built:
            self.model.build(input_shape)

    def call(self, x):
        return self.model(x, training=False)

    def get_config(self):
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
        }

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("model")), **config)


def tabulate(target, x, order: int = 1, batch_size: int = 1024) -> tuple:
    """The target's labels at x [B,*in] as NumPy arrays: (y [B,*out], d1 [B,*out,*in], ...).

    >>> y, dy = tabulate(Function(lambda x: x**2), np.array([[3.0]]))
    >>> dy.tolist()
    [[[6.0]]]
    """
    x = jets.differentiable(x)
    parts = [
        jets.jet(target, x[i : i + batch_size], order) for i in range(0, max(len(x), 1), batch_size)
    ]
    terms = zip(*((p.value, *p.derivatives) for p in parts), strict=True)
    return tuple(map(np.concatenate, terms))


def serialize(target):
    """The target's configuration for a saved model, or None for code that is not registered."""
    code = target.fn if isinstance(target, Function) else target
    registered = code in keras.saving.get_custom_objects().values()
    if isinstance(target, Teacher) or registered:
        return keras.saving.serialize_keras_object(target)
    return None
