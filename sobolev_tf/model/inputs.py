"""The inputs to differentiate: the only one of a net, one of several, or several together."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import jets
from sobolev_tf.keras_support.shapes import batch_shape
from sobolev_tf.model.label_blocks import join_blocks


class Inputs:
    """The *point*, with respect to which derivatives are taken: taken out of x, and put back.

    Args:
      net: a Keras model of one input tensor, of a list of them, or of a dict.
      wrt: the name of one input, or a list of names, whose inputs are flattened and joined into
        one point [B,D] in that order. None if there is one input. Inputs in a list have the names
        of the net's inputs. Inputs that are not named may be integers.

    Raises:
      ValueError: `wrt` is not a name or a list of names, or has a name twice.

    Example:

    >>> a, b = keras.Input([2], name="a"), keras.Input([3], name="b")
    >>> net = keras.Model({"a": a, "b": b}, keras.layers.Concatenate()([a, b]))
    >>> x = {"a": tf.ones([4, 2]), "b": tf.zeros([4, 3])}
    >>> inputs = Inputs(net, wrt=["b", "a"])
    >>> inputs.point(x).shape
    TensorShape([4, 5])
    >>> float(tf.reduce_max(inputs.put_back(x, 7 * tf.ones([4, 5]))["a"]))
    7.0
    """

    def __init__(self, net: keras.Model, wrt: str | list[str] | None = None) -> None:
        self.net = net
        self.sizes: dict[Any, int] = {}
        self.dims: dict[Any, tf.TensorShape] = {}
        if not isinstance(wrt, str | list | tuple | None):
            raise ValueError(f"wrt is the name of an input, or a list of names, got {wrt!r}.")
        self.wrt = wrt if wrt is None or isinstance(wrt, str) else list(wrt)
        if self.wrt == []:
            raise ValueError("wrt names no input; leave it out for a net of one input.")
        if self._dict() is None and self.chosen == self._names() and len(self.chosen) == 1:
            self.wrt = None  # the only input
        if len(set(self.chosen)) < len(self.chosen):
            raise ValueError(f"wrt names an input twice: {self.chosen}.")

    @property
    def chosen(self) -> list[str]:
        """The names in `wrt` as a list; empty if there is one input."""
        return [self.wrt] if isinstance(self.wrt, str) else self.wrt or []

    @property
    def several(self) -> bool:
        """Whether x is several arrays."""
        return self.wrt is not None or len(getattr(self.net, "inputs", None) or [None]) > 1

    def is_float64(self) -> bool:
        """Tell whether any layer of the net computes in float64."""
        layers = self.net._flatten_layers()
        return any("float64" in (each.compute_dtype, each.variable_dtype) for each in layers)

    def are_rounded(self) -> bool:
        """Tell whether a keras.Input of the point has fewer digits than float64."""
        known = getattr(self.net, "inputs", None) or []
        short = ("float32", "float16", "bfloat16")
        return any(tensor.dtype in short for tensor in known if self.is_chosen(tensor))

    def is_chosen(self, tensor: keras.KerasTensor) -> bool:
        """Tell whether a keras.Input of the net is of the point: by its key or its own name."""
        if not self.chosen:
            return True
        by_key = self._dict() or {}
        if all(name in by_key for name in self.chosen):
            return any(by_key[name] is tensor for name in self.chosen)
        return tensor.name in self.chosen

    def known_shape(self) -> Any:
        """Return the shape [B,*in] of the net's inputs in their structure, or None before build."""
        if isinstance(self.net, keras.Sequential) and self.net.built:
            return self.net.input_shape
        if self.net.built and getattr(self.net, "inputs", None):
            return keras.tree.map_structure(lambda t: tuple(t.shape), self.net.input)
        return None

    def build(self, input_shape: Any, owner: str) -> tuple[tuple, tuple]:
        """Build the net if it is not built yet; return the shapes in and out, without B.

        Args:
          input_shape: [B,*in], in the structure of the net's inputs.
          owner: the class that errors name.

        Raises:
          ValueError: for a net of several outputs, or of axes whose size is not known.
        """
        if not self.net.built:
            self.net(keras.tree.map_shape_structure(keras.KerasTensor, input_shape))
        if len(getattr(self.net, "outputs", None) or [None]) > 1:
            raise ValueError(
                f"{owner} takes a net of one output, got {self.net.output_shape}: join them "
                "(keras.layers.Concatenate), or give each a model of its own."
            )
        dims, outputs = self.shape(input_shape), self._output_shape(input_shape, owner)
        if None in (*dims, *outputs):
            raise ValueError(
                f"{owner} needs to know all axes but the batch: the net goes from "
                f"{batch_shape(dims)} to {batch_shape(outputs)}; give keras.Input their sizes."
            )
        return dims, outputs

    def cast(self, x: Any) -> Any:
        """Return x as tensors, what is differentiated in the net's dtype.

        Raises:
          ValueError: for integers where derivatives are taken, or inputs that are not named.
        """
        known = self.known_shape()
        if isinstance(x, tf.Tensor) and x.shape.rank is None and _is_shape(known):
            x = tf.ensure_shape(x, known)  # a data set may not know even the number of axes
        entries = self._entries(x)
        names = self.chosen or list(entries)
        cast = {
            name: tf.cast(jets.as_differentiable(entry, name or "x"), self._dtype(name))
            if name in names
            else tf.convert_to_tensor(entry)
            for name, entry in entries.items()
        }
        return self._structure(x, cast)

    def point(self, x: Any) -> tf.Tensor:
        """Return what is differentiated: [B,*in] of one input, [B,D] of several."""
        entries = self._entries(x)
        if not isinstance(self.wrt, list):
            return entries[self.wrt]
        parts = [_flat(entries[name]) for name in self.wrt]
        widest = max((part.dtype for part in parts), key=lambda dtype: dtype.size)
        return tf.concat([tf.cast(part, widest) for part in parts], 1)

    def put_back(self, x: Any, point: tf.Tensor) -> Any:
        """Return x with the point in its place, as the net is called."""
        entries = dict(self._entries(x))
        if not isinstance(self.wrt, list):
            return self._structure(x, entries | {self.wrt: point})
        shapes = [entries[name].shape[1:] for name in self.wrt]
        parts = tf.split(point, [shape.num_elements() for shape in shapes], axis=1)
        for name, part, shape in zip(self.wrt, parts, shapes, strict=True):
            entries[name] = tf.cast(tf.reshape(part, [-1, *shape]), entries[name].dtype)
        return self._structure(x, entries)

    def at(self, fn: Callable, x: Any) -> Callable:
        """Return fn(x) as a function of the point only; fn itself if x is the point.

        Raises:
          ValueError: for a black box where x has several inputs.
        """
        if x is self.point(x):
            return fn
        if hasattr(fn, "jet"):
            raise ValueError(
                "a black box takes one input: give labels, or a differentiable target."
            )
        return lambda point: fn(self.put_back(x, point))

    def join(self, label: Any, outputs: int, order: int = 1) -> Any:
        """Return a label by input name, each [B,*out,*in] at order 1, as one [B,*out,D] label.

        Args:
          label: a dict by input name; anything else is returned as it is.
          outputs: the number of axes of *out.
          order: order of the derivative; for 2 and more see `label_blocks`.

        Raises:
          ValueError: an input that `wrt` names is absent, or its part has another shape.
        """
        if not isinstance(label, dict):
            return label
        if order > 1:
            return join_blocks(label, self.chosen, self.sizes, outputs, order)
        if self.wrt is None and len(label) == 1:
            return next(iter(label.values()))
        if missing := [name for name in self.chosen if label.get(name) is None]:
            raise ValueError(f"label d1 lacks the input {missing[0]!r}; wrt names {self.chosen}.")
        if not isinstance(self.wrt, list):
            return label[self.wrt]
        return tf.concat([self._part(label[name], name, outputs) for name in self.wrt], outputs + 1)

    def shape(self, input_shape: Any) -> tuple:
        """Return the point's shape without B, from the net's input shapes in their structure."""
        shapes = self._entries(input_shape, leaf=_is_shape)
        self.dims = {name: tf.TensorShape(shape[1:]) for name, shape in shapes.items()}
        self.sizes = {name: dims.num_elements() for name, dims in self.dims.items()}
        if not isinstance(self.wrt, list):
            return tuple(shapes[self.wrt][1:])
        return (sum(tf.TensorShape(shapes[name][1:]).num_elements() for name in self.wrt),)

    def specs(self, input_shape: Any) -> list[tf.TensorSpec]:
        """Return named TensorSpecs of all inputs, for signatures; `structure` is the way back."""
        shapes = self._entries(input_shape, leaf=_is_shape)
        return [
            tf.TensorSpec([None, *shape[1:]], self._dtype(name), name=name or "x")
            for name, shape in shapes.items()
        ]

    def structure(self, tensors: list, input_shape: Any) -> Any:
        """Return the net's inputs from a list of tensors, in the structure of `input_shape`."""
        if isinstance(input_shape, dict):
            return dict(zip(input_shape, tensors, strict=True))
        if _is_shape(input_shape):
            return tensors[0]
        return tuple(tensors) if isinstance(input_shape, tuple) else list(tensors)

    def _part(self, label, name, outputs):
        """The derivatives by one input [B,*out,n]; of one output [B,1] also from [B,*in]."""
        label = tf.convert_to_tensor(label)
        dims, size = self.dims[name], self.sizes[name]
        if outputs == 1 and label.shape[1:].is_compatible_with(dims):
            label = label[:, None]
        tail = label.shape[outputs + 1 :]
        if not (tail.is_compatible_with(dims) or tail.is_compatible_with([size])):
            raise ValueError(
                f"label d1 of {name!r} has shape {list(label.shape)}, expected the axes batch, "
                f"outputs, and {list(dims)} as in x."
            )
        return tf.reshape(label, [-1, *label.shape[1 : outputs + 1], size])

    def _output_shape(self, input_shape, owner):
        if getattr(self.net, "outputs", None):
            sequential = isinstance(self.net, keras.Sequential)
            output = self.net.outputs[0] if sequential else self.net.output
        else:
            spec = keras.tree.map_shape_structure(keras.KerasTensor, input_shape)
            output = self.net.compute_output_spec(spec)
        if not hasattr(output, "shape"):
            raise ValueError(
                f"{owner} takes a net that gives one tensor, got one that gives a "
                f"{type(output).__name__}: wrap it, as in keras.Model(net.input, net.output[...])."
            )
        return tuple(output.shape[1:])

    def _entries(self, x, leaf=lambda x: not isinstance(x, (dict, list, tuple))) -> dict:
        entries: dict[str | None, Any]
        if leaf(x):
            entries = {None: x}
        elif isinstance(x, dict):
            entries = x
        else:
            names = self._names()
            if len(names) != len(x):
                raise ValueError(f"x has {len(x)} arrays, the net takes {len(names)}: {names}.")
            entries = dict(zip(names, x, strict=True))
        if self.wrt is None and len(entries) > 1:
            raise ValueError(
                f"the net takes several inputs ({', '.join(map(str, entries))}): name those to "
                "differentiate, as in SobolevModel(net, wrt=...)."
            )
        if self.wrt is None:
            return {None: next(iter(entries.values()))}
        if entries.keys() == {None}:
            raise ValueError(
                f"wrt names {self.chosen}, but x is one array: the net takes "
                f"{', '.join(self._names())}, in a dict or a list."
            )
        needed = list(self._dict() or self._names())
        lacking = [name for name in needed if name not in entries] if isinstance(x, dict) else []
        if lacking:
            raise ValueError(
                f"x lacks the input {lacking[0]!r}: it has {', '.join(map(str, x))}, and the net "
                f"takes {', '.join(needed)}."
            )
        if unknown := [name for name in self.chosen if name not in entries]:
            raise ValueError(
                f"wrt names {unknown[0]!r}, but the inputs are "
                f"{', '.join(str(name) for name in entries)}."
            )
        return entries

    def _structure(self, x, entries):
        if isinstance(x, dict):
            return entries if self.wrt is not None else {next(iter(x)): entries[None]}
        if isinstance(x, (list, tuple)):
            return type(x)(entries.values())
        return entries[None]

    def _names(self):
        return [t.name for t in getattr(self.net, "inputs", None) or []]

    def _dict(self):
        """The net's keras.Inputs by key, if it takes a dict; else None."""
        if isinstance(self.net, keras.Sequential) or not getattr(self.net, "inputs", None):
            return None
        return self.net.input if isinstance(self.net.input, dict) else None

    def _dtype(self, name):
        """The dtype of an input; float64 in a float64 net, since z-scores are computed of it."""
        if (self.wrt is None or name in self.chosen) and self.is_float64():
            return "float64"
        structure = self._dict()
        if structure is not None and name in structure:
            return structure[name].dtype
        for tensor in getattr(self.net, "inputs", None) or []:
            if name is None or tensor.name == name:
                return tensor.dtype
        return self.net.variable_dtype or keras.config.floatx()


def _is_shape(shape):
    """Whether this is one shape (B, *in), and not a tuple of shapes."""
    return isinstance(shape, tuple) and not any(isinstance(n, tuple) for n in shape)


def _flat(t):
    return tf.reshape(t, [tf.shape(t)[0], t.shape[1:].num_elements()])
