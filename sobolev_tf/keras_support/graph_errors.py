"""Errors from inside a graph: a target's own error, or one line of TensorFlow's report."""

import builtins
import contextlib
import re
import traceback
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

# What surrounds the one line that matters in a graph's report.
_NOISE = (
    "Graph execution error",
    "Detected at node",
    "[[{{node",
    "<stack traces",
    "File ",
    "root error(s) found",
)
_NAMED = re.compile(r"[\w.]+: ")  # a function or class in front of an error's text
_NUMBER = re.compile(r"^\(\d+\) (?:[A-Z_]+: *)?")  # before each of several errors
# TensorFlow 2.21's message about Keras 3.15's loop over steps on several replicas.
_LOOP = "You must feed a value for placeholder tensor"
# Its report of `shapes.with_axes`, whose operation has the name of the array.
_SHAPE = re.compile(
    r"Shape of tensor \S+ (\[[\d,]*\]) is not compatible with expected shape (\[[\d?,]*\])\."
    r"(?:.|\n)*?\{\{node (?:[^}]*/)?([a-z]\w*?)(?:_\d+)?\}\}"
)
_LOOP_ON_REPLICAS = (
    "Keras cannot run several steps an execution on several replicas. Compile the model with "
    "steps_per_execution=1."
)
# Its two reports of an operation that has no gradient.
_NO_GRADIENT = re.compile(
    r"gradient registry has no entry for: (\w+)|No gradient defined for operation.*\(op type: (\w+)"
)


class RefusedByLayer(ValueError):
    """One of the library's layers refused its arguments, in one line."""


class OneLineLayer(keras.layers.Layer):
    """A layer whose own errors are one line; Keras adds a list of the arguments of the call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer as in Keras."""
        with own_errors(type(self).__name__, kind=RefusedByLayer):
            return super().__call__(*args, **kwargs)


class RefusedInput(tf.errors.InvalidArgumentError, ValueError):
    """An operation in a graph refused its input, in one line."""


@contextlib.contextmanager
def own_errors(
    caller: str, target: Any = None, kind: type[ValueError] = ValueError
) -> Iterator[None]:
    """Raise a black box's own error as it was, and other errors of a graph as one line.

    What the library itself refuses gets the caller's name.

    Args:
      caller: the method that errors name.
      target: the model's target; its `failure` is the error that it raised on the host.
      kind: of the error if a layer has refused its arguments.

    Raises:
      RefusedInput: an operation refused its input, such as an index out of range, or a class
        number for which the net has no output.
      ValueError: TensorFlow has no gradient of an operation's gradient.
    """
    try:
        yield
    except Exception as error:
        failure = getattr(target, "failure", None)
        if isinstance(failure, Exception) and failure is not error and _reports(error, failure):
            raise failure from None
        refused = isinstance(error, tf.errors.InvalidArgumentError | tf.errors.UnknownError)
        if refused and (line := _of_generator(error) or one_line(error) or _eager_line(error)):
            raise RefusedInput(None, None, f"{caller}: {line}") from None
        if isinstance(error, ValueError | TypeError) and (line := _of_layer(error)) is not None:
            raise kind(line if line.startswith(caller) else f"{caller}: {line}") from None
        if isinstance(error, LookupError) and (found := _NO_GRADIENT.search(str(error))):
            raise ValueError(
                f"{caller}: TensorFlow has no gradient of {found[1] or found[2]}, and Sobolev "
                "training differentiates twice: use another activation or layer for it."
            ) from None
        if _is_unnamed(error):
            raise ValueError(f"{caller}: {error}") from error
        raise


def refuse_no_results(caller: str, results: Any) -> Any:
    """Return what `evaluate` gives; Keras gives nothing if there was no batch.

    Raises:
      ValueError: there was no batch.
    """
    if isinstance(results, dict | list) and not results:
        raise ValueError(f"{caller}: there is no data.")
    return results


@contextlib.contextmanager
def no_rows_refused(caller: str) -> Iterator[None]:
    """Refuse to predict without rows: Keras 3.15 then trips over a name of its own.

    Raises:
      ValueError: there was no batch.
    """
    try:
        yield
    except UnboundLocalError as error:
        if "batch_outputs" not in str(error):
            raise
        raise ValueError(f"{caller}: there is no data.") from None


def one_line(error: tf.errors.OpError) -> str | None:
    """Return the line of a graph's report that says what is wrong; None for other errors.

    Reports of an input pipeline are not changed: whoever reads the data knows better.

    Example:

    >>> lines = ["Graph execution error:", "Detected at node f", "7 is not in [0, 3)"]
    >>> report = "\\n".join([*lines, "\\t [[{{node f}}]] [Op:__inference_f_1]"])
    >>> one_line(tf.errors.InvalidArgumentError(None, None, report))
    '7 is not in [0, 3)'
    """
    text = error.message
    if found := _SHAPE.search(text):
        shape, expected = (part.replace(",", ", ") for part in found.groups()[:2])
        return (
            f"{found[3].replace('_', ' ')} has shape {shape} in a batch, expected "
            f"{expected.replace('[?', '[B')}."
        )
    if "Graph execution error" not in text or "IteratorGetNext" in text:
        return None
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    lines = [line for line in lines if not any(mark in line for mark in _NOISE)]
    if not lines:
        return None
    line = _NUMBER.sub("", lines[0])
    return _LOOP_ON_REPLICAS if line.startswith(_LOOP) else line


def raised_in_python(error: tf.errors.OpError) -> Exception | None:
    """Return the error of Python code inside an input pipeline, taken from TensorFlow's report.

    Exceptions that are not built into Python become ValueErrors with the same first line.

    Example:

    >>> report = "KeyError: 'no such file'\\nTraceback (most recent call last):\\n\\n  File ..."
    >>> raised_in_python(tf.errors.UnknownError(None, None, report))
    KeyError("'no such file'")
    """
    found = re.search(r"(?:^|\s)(\w+): (.+)", error.message)
    if found is None or "Traceback (most recent" not in error.message:
        return None
    name, text = found[1], found[2].strip()
    own: Any = getattr(builtins, name, None)
    if isinstance(own, type) and issubclass(own, Exception):
        return own(text)
    return ValueError(f"{name}: {text}")


def _of_generator(error: tf.errors.OpError) -> str | None:
    """What tf.data refused in a batch that a generator yielded; None for other errors."""
    found = re.search(r"`generator` (yielded an element[^.\n]*)\.", error.message)
    if found and "OptionalSpec" in error.message:  # Keras 3.15 describes None so, and then trips
        return (
            "a batch has None in a tuple, which Keras does not take from a PyDataset: leave it "
            'out, and give labels in a dict, such as {"d1": ...}.'
        )
    return f"the generator {found[1]}: batches differ in their rows only." if found else None


def _eager_line(error: tf.errors.OpError) -> str | None:
    """What an operation refused that ran eagerly, inside a layer or not; None for others."""
    text = _of_layer(error) or error.message
    if "IteratorGetNext" in text or "Traceback (most recent" in text:
        return None  # who reads the data knows better
    if "\nCondition x" in text:  # of tf.debugging, which shows both sides below
        return text.split("\n")[0]
    found = re.match(r"(?s)\{\{function_node [^}]*\}\} (.+?) \[Op:\w+\]", text)
    return " ".join(found[1].split()) if found else None


def _of_layer(error: Exception) -> str | None:
    """What a layer refused, out of Keras's report of the layer's arguments; None for others."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    if isinstance(error, RefusedByLayer):
        return text
    if not text.startswith("Exception encountered when calling"):
        return None
    lines = [line.strip() for line in text.split("\n") if line.strip()][1:]
    marks = [k for k, line in enumerate(lines[:-1]) if line.endswith("Error encountered:")]
    return lines[marks[-1] + 1 if marks else 0] if lines else None


def _is_unnamed(error: Exception) -> bool:
    """Tell whether an error is the library's own and names no caller."""
    if type(error) is not ValueError or _NAMED.match(str(error)):
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").startswith("sobolev_tf.")


def _reports(error: Exception, failure: Exception) -> bool:
    """Whether an error is a graph's, or a wrapper's, report of a failure, now or earlier."""
    if isinstance(error, tf.errors.OpError):
        text = str(failure).split("\n")[0]
        return type(failure).__name__ in error.message and text in error.message
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) and cause not in causes:
        causes.append(cause)
    return failure in causes
