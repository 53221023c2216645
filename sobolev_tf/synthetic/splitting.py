"""Cut a functional Keras model into stages, at named layers (section 4.3)."""

import difflib
from collections.abc import Sequence

import keras
import numpy as np

from sobolev_tf import require


def split(net: keras.Model, at: Sequence[str]) -> list[keras.Model]:
    """Cut `net` into stages, after each layer that `at` names.

    Called one after another, the stages compute the net. They share its layers and weights: nothing
    is copied.

    Args:
      net: a functional Keras model with one output.
      at: names of layers, in the order of the graph. Layers above a cut may depend on those below
        only through the output of the cut's layer.

    Returns:
      A list of `len(at) + 1` functional models, from the input upwards.

    Raises:
      ValueError: a name is unknown or repeated, names are out of order, or a connection crosses a
        cut; the message names the layers.

    Example:

    >>> import keras
    >>> inputs = keras.Input([4])
    >>> hidden = keras.layers.Dense(8, "relu", name="hidden")(inputs)
    >>> net = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    >>> [stage.output_shape for stage in split(net, at=["hidden"])]
    [(None, 8), (None, 3)]
    """
    if not getattr(net, "inputs", None) or not getattr(net, "outputs", None):
        raise ValueError(
            "split: expected a functional keras.Model, whose graph of layers is known; got "
            f"{type(net).__name__}. Build the net with keras.Input and keras.Model."
        )
    if isinstance(at, str):
        raise ValueError(f"split: at is a list of layer names, at=[{at!r}].")
    if not np.iterable(at) or not all(isinstance(name, str) for name in at):
        raise ValueError(f"split: at is a list of layer names, got {require.shown(at)}.")
    if len(net.outputs) != 1:
        raise ValueError(f"split: expected a net with one output, got one with {len(net.outputs)}.")
    cuts = [_output_of(net, name) for name in at]
    _check_order(net, list(at), cuts)
    start = _inputs(net)
    ends = [*cuts, net.outputs[0]]
    for name, cut, end in zip(at, cuts, ends[1:], strict=True):
        _check_separates(name, cut, end)
    stages = [
        keras.Model(start, end, name=f"{net.name}_stage{k}")
        for k, (start, end) in enumerate(zip([start, *cuts], ends, strict=True))
    ]
    if shared := _shared(stages):
        path, one, other = shared
        raise ValueError(
            f"split: {path!r} is used on both sides of a cut, in {stages[one].name!r} and "
            f"{stages[other].name!r}. Cut where no layer is shared."
        )
    return stages


def join(stages: Sequence[keras.Model]) -> keras.Model:
    """Return the model that calls `stages` one after another; it shares their weights."""
    start = x = _inputs(stages[0])
    for stage in stages:
        x = stage(x)
    return keras.Model(start, x)


def check(stages: Sequence[keras.Model]) -> None:
    """Raise ValueError unless `stages` are functional models, each of which fits the next."""
    listed = isinstance(stages, (list, tuple)) and len(stages) > 0
    if not listed or not all(getattr(stage, "inputs", None) for stage in stages):
        raise ValueError(
            "expected stages as split(net, at=[...]) returns them, a list of functional models; "
            f"got {stages!r}."
        )
    for k in range(1, len(stages)):
        gives, takes = stages[k - 1].output_shape, stages[k].input_shape
        if gives != takes:
            raise ValueError(
                f"stage {k + 1} takes {takes}, and stage {k} gives {gives}: they are not of one "
                "net, or not in order."
            )


def refuse_shared_weights(stages: Sequence[keras.Model], critics: Sequence[keras.Model]) -> None:
    """Raise ValueError if two stages or critics share a weight: different losses train them."""
    if shared := _shared([*stages, *critics]):
        names = [f"stage {k}" for k in range(1, len(stages) + 1)]
        names += [f"the critic at cut {k}" for k in range(1, len(critics) + 1)]
        path, one, other = shared
        raise ValueError(
            f"{names[other]} shares {path!r} with {names[one]}; each learns from a loss of its "
            "own: give it a layer of its own, such as a copy by keras.models.clone_model."
        )


def _output_of(net, name):
    names = [layer.name for layer in net.layers]
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=3)
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else f"its last layers are {', '.join(names[-4:])}"
        )
        raise ValueError(f"split: no layer named {name!r} in {net.name!r}; {hint}")
    # From this net's graph, since `layer.output` belongs to the first net that used the layer.
    ends = [tensor for edge in _edges(net.outputs[0]) for tensor in edge]
    nodes = {t._keras_history.node_index: t for t in ends if _layer(t) == name}
    if len(nodes) > 1:
        raise ValueError(
            f"split: layer {name!r} is called {len(nodes)} times in {net.name!r}; a cut needs one "
            "that is called once."
        )
    [(node, output)] = nodes.items()
    count = len(output._keras_history.operation._inbound_nodes[node].output_tensors)
    if count != 1:
        raise ValueError(
            f"split: layer {name!r} has {count} outputs; a cut needs a layer with one."
        )
    if any(output is tensor for tensor in (*net.inputs, *net.outputs)):
        raise ValueError(
            f"split: layer {name!r} is an end of {net.name!r}: a cut there leaves an empty "
            "stage. Name a layer between the input and the output."
        )
    return output


def _check_order(net, names, cuts):
    """Raise ValueError unless the names follow the graph upwards, each once."""
    if len(set(names)) < len(names):
        raise ValueError(f"split: a layer is named twice in at={names}.")
    for k in range(len(cuts) - 1):
        if not _reaches(cuts[k + 1], cuts[k]):
            order = [layer.name for layer in net.layers]
            expected = sorted(names, key=order.index)
            raise ValueError(
                f"split: cuts are out of order or lie side by side: {names[k + 1]!r} does not "
                f"depend on {names[k]!r}. The graph's order is {expected}."
            )


def _check_separates(name, cut, end):
    """Raise ValueError unless every path from `end` to below `cut` passes through `cut`."""
    for above, below in _edges(end, stop=cut):
        if below is cut or not (_reaches(cut, below) or _is_input(below)):
            continue
        raise ValueError(
            f"split: a connection crosses the cut at {name!r}: {_layer(above)!r}, above it, "
            f"reads {_layer(below)!r}, below it. Cut where everything passes through one layer."
        )


def _inputs(net):
    """A net's inputs in their structure; the tensor if there is one, unless it has a key."""
    structure = net.inputs if isinstance(net, keras.Sequential) else net.input
    return net.inputs[0] if len(net.inputs) == 1 and not isinstance(structure, dict) else structure


def _shared(models):
    """The path of a weight that two models share, and their numbers; None if there is none."""
    owner: dict[int, int] = {}
    for number, model in enumerate(models):
        for variable in model.variables:
            if (first := owner.setdefault(id(variable), number)) < number:
                return variable.path, first, number
    return None


def _reaches(end, tensor):
    """Return whether `end` depends on `tensor`."""
    return end is tensor or any(below is tensor for _, below in _edges(end))


def _edges(end, stop=None):
    """Yield (tensor, a tensor it is computed from) at and below `end`, down to `stop`."""
    pending, seen = [end], set()
    while pending:
        above = pending.pop()
        if above is stop or id(above) in seen:
            continue
        seen.add(id(above))
        operation, node, _ = above._keras_history
        for below in operation._inbound_nodes[node].input_tensors:
            yield above, below
            pending.append(below)


def _is_input(tensor):
    return isinstance(tensor._keras_history.operation, keras.layers.InputLayer)


def _layer(tensor):
    return tensor._keras_history.operation.name
