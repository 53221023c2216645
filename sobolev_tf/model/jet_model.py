"""JetModel: a net that answers values and derivatives, in the units of its user."""

import functools

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import jets, targets
from sobolev_tf.keras_support import export, strategies
from sobolev_tf.model import labels, scaling
from sobolev_tf.model.inputs import Inputs


class JetModel(strategies.DistributedModel):
    """A network x [B,*in] -> [B,*out] and its derivatives up to `order`; it does not learn.

    Between the user's x and the net, and between the net and the user's y, stands `scaling`:
    the identity until `adapt`. What is differentiated among several inputs, `wrt` says.
    """

    def __init__(self, net: keras.Model, order: int = 1, *, wrt=None, target=None, **kwargs):
        if order < 0:
            raise ValueError(f"order is at least 0, got {order}.")
        # Transparent to dtypes: the net itself decides what to cast.
        super().__init__(autocast=False, **kwargs)
        self.net = net
        self.order = order
        self.wrt = wrt
        self.target = target
        self.projection = None
        self.scaling = scaling.Scaling()
        self.label_sizes = None  # root mean squares by component, of the labels that `adapt` saw
        self._inputs = Inputs(net, wrt)
        self._full_jet = tf.function(self._full_jet_of, reduce_retracing=True)

    def _build_as_net(self):
        """Builds at once where the net knows its inputs; a built model accepts no more state."""
        if isinstance(self.net, keras.Sequential) and self.net.built:
            self.build(self.net.input_shape)
        elif self.net.built and getattr(self.net, "inputs", None):
            self.build(keras.tree.map_structure(lambda t: tuple(t.shape), self.net.input))

    def build(self, input_shape):
        if not self.net.built:
            self.net(keras.tree.map_shape_structure(keras.KerasTensor, input_shape))
        if len(getattr(self.net, "outputs", None) or [None]) > 1:
            raise ValueError(
                f"SobolevModel takes a net of one output, got {self.net.output_shape}: join them "
                "(keras.layers.Concatenate), or give each a model of its own."
            )
        self._input_shape = input_shape
        self.output_dims = tuple(self._output_shape(input_shape)[1:])
        dims = self._inputs.shape(input_shape)
        if None in (*dims, *self.output_dims):
            raise ValueError(
                f"SobolevModel needs to know all axes but the batch: the net goes from "
                f"{['B', *dims]} to {['B', *self.output_dims]}; give keras.Input their sizes."
            )
        self.scaling.build((dims, self.output_dims))

    def _output_shape(self, input_shape):
        if getattr(self.net, "outputs", None):
            return self.net.output_shape
        spec = keras.tree.map_shape_structure(keras.KerasTensor, input_shape)
        return self.net.compute_output_spec(spec).shape

    def call(self, x, training=None):
        return self.raw_at(x, training)(self._inputs.point(x))

    def adapt(self, x, y=None, batch_size: int = 1024, steps: int | None = None):
        """Learn in z-scores of x and y, and by the chain rule of every derivative.

        x, y: as for `fit`, arrays or a tf.data.Dataset of batches (`steps` of them), read once;
            of a live target `x` is enough. Without values, y's deviation is the typical length
            of its z-scored gradient. NaN entries are left out.

        x [B,D] is scaled component by component; x of more axes (images, positions of atoms) by
        one mean and one deviation, which keeps its geometry.

        `predict`, `predict_jet`, the saved and the exported model go on speaking raw units, and
        so do metrics; the losses, and random directions, are in z-scores, and so are the metrics
        of output projections, which mix the outputs' units.
        """
        data = x
        if not isinstance(x, tf.data.Dataset):
            arrays = keras.tree.lists_to_tuples([x] if y is None else [x, y])
            data = tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size)
        if steps is None and data.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError("adapt: the data set has no end; say how many batches: steps=...")
        statistics = None
        for batch in data.take(steps or -1):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
            x = self._cast(x)
            statistics = statistics or scaling.Statistics(self.output_dims, self._takes_classes())
            statistics.add(self._inputs.point(x).numpy(), self._known(x, y))
        if statistics is None or not statistics.rows:
            raise ValueError("adapt: there is no data, x is empty.")
        self.scaling.set(*statistics.scales())
        self.label_sizes = statistics.label_sizes()
        # Component weights are constants of what was traced before.
        self.train_function = self.test_function = None
        self._on_adapt()

    def _takes_classes(self):
        """For subclasses: whether whole numbers among the values are class numbers."""
        return False

    def _on_adapt(self):
        """For subclasses: the scales and sizes of labels are known now."""

    def predict_jet(self, x, batch_size: int = 256) -> jets.Jet:
        """Value [B,*out] and full derivatives D^j [B,*out,*in × j] at x, as NumPy arrays.

        x: arrays, or a tf.data.Dataset of batches, whose labels are left aside.
        """
        parts = [self._full_jet(self._cast(batch)) for batch in _batches(x, batch_size)]
        if not parts:
            raise ValueError("predict_jet: there is no data, the data set is empty.")
        value, *derivatives = map(
            np.concatenate, zip(*((p.value, *p.derivatives) for p in parts), strict=True)
        )
        return jets.Jet(value, tuple(derivatives))

    def export(self, filepath, **kwargs):
        """Write a SavedModel that answers values and derivatives: see `export.export_jets`.

        The directory appears whole or not at all; an older SavedModel there is replaced.
        """
        if kwargs:
            raise ValueError(f"export takes a directory alone, got {', '.join(kwargs)}.")
        if not self.built:
            raise ValueError("export needs a built model: call it, fit it or build it first.")
        layers = [self.net, self.scaling]
        export.export_jets(layers, self._served, self._specs(), self.order, filepath)

    def _known(self, x, y):
        """The value and derivative labels of a batch by name, from y or from a live target."""
        given = labels.by_name(y, self.order)
        if not given and self.target is not None:
            target = self._target_at(x)
            # Projections are for targets whose full derivatives would be too many.
            order = 0 if self.projection else self.order
            terms = targets.tabulate(target, self._inputs.point(x), order, verbose=0)
            given = dict(zip(labels.names(order), terms, strict=True))
        if "d1" in given:
            given["d1"] = self._inputs.join(given["d1"], len(self.output_dims))
        return {name: np.asarray(given[name]) for name in labels.names(self.order) if name in given}

    def _cast(self, x):
        """x in the net's dtype: cast once out here, derivatives are with respect to the same x."""
        x = self._inputs.cast(x)
        if not self.built:
            if not self.net.built:
                self.net(keras.tree.map_structure(lambda t: keras.KerasTensor(t.shape, t.dtype), x))
            self.build(keras.tree.map_structure(lambda t: tuple(t.shape), x))
        return x

    def _net_at(self, x, training):
        """The net as a function of what is differentiated in x."""
        return self._inputs.at(functools.partial(self.net, training=training), x)

    def _target_at(self, x):
        """The live target, likewise."""
        return self._inputs.at(self.target, x)

    def raw_at(self, x, training=False):
        """The model as a function of what is differentiated in x, in raw units both."""
        return scaling.Raw(self._net_at(x, training), self.scaling)

    def _specs(self):
        """TensorSpecs of the inputs that an exported model takes."""
        return self._inputs.specs(self._input_shape)

    def _served(self, tensors):
        """(f, point) at the net's inputs [t, ...], in the order of their names."""
        x = self._inputs.structure(tensors, self._input_shape)
        return self.raw_at(x), self._inputs.point(x)

    def _full_jet_of(self, x):
        return self.raw_at(x).jet(self._inputs.point(x), self.order)


def _batches(x, size):
    """What is differentiated and what is not, batch by batch."""
    if size < 1:
        raise ValueError(f"predict_jet: batch_size is at least 1, got {size}.")
    if isinstance(x, tf.data.Dataset):
        if x.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError("predict_jet: the data set has no end; give one.take(n) of it.")
        yield from (keras.utils.unpack_x_y_sample_weight(batch)[0] for batch in x)
        return
    x = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    rows = len(keras.tree.flatten(x)[0])
    for i in range(0, max(rows, 1), size):
        yield keras.tree.map_structure(lambda t, i=i: t[i : i + size], x)
