"""f(x, y) from an expression such as "sin(x)*y", by a whitelist; nothing is evaluated as Python.

The text is parsed by `ast`, and every node that is not arithmetic on x, y, numbers and the
functions listed here is refused.
"""

import ast
import math
import operator
import warnings
from collections.abc import Callable

import tensorflow as tf

from train.lib.run.errors import UsageError

Formula = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
MAX_LENGTH = 1000
CONSTANTS = {"pi": math.pi, "e": math.e}
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: tf.identity,
}
NAMES = ["abs", "acos", "asin", "atan", "cos", "cosh", "exp", "sin", "sinh", "sqrt", "tan", "tanh"]
FUNCTIONS = {name: getattr(tf, name) for name in NAMES}
FUNCTIONS |= {"log": tf.math.log, "max": tf.maximum, "min": tf.minimum}
NUM_ARGUMENTS = dict.fromkeys(FUNCTIONS, 1) | {"max": 2, "min": 2}


def parse(text: str) -> Formula:
    """Return the function (x, y) -> f of tensors [B,1] that `text` writes.

    Raises:
      UsageError: for text that is not arithmetic; it names the first thing that is not.

    Example:
      >>> one = tf.constant([[1.0]])
      >>> parse("2*x + max(y, 3)")(one, one).numpy().tolist()
      [[5.0]]
    """
    try:
        if len(text) > MAX_LENGTH:
            raise SyntaxError(f"it is longer than {MAX_LENGTH} characters")
        with warnings.catch_warnings(action="ignore"):  # of text that is refused right after
            tree = ast.parse(text.strip(), mode="eval").body
        f = _compiled(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or "it is nested too deeply or not text"
        raise UsageError(
            f"--function={text[:80]!r} does not parse: {reason}; expected arithmetic (+ - * / **) "
            f"on x, y, numbers, {', '.join([*CONSTANTS, *FUNCTIONS])}"
        ) from error
    return lambda x, y: f(x, y) + 0 * x  # a constant has as many rows as x, too


def _compiled(node: ast.expr) -> Formula:
    """Return the function (x, y) of one node of the syntax tree."""
    match node:
        case ast.Name("x"):
            return lambda x, y: x
        case ast.Name("y"):
            return lambda x, y: y
        case ast.Name(name) if name in CONSTANTS:
            return _constant(CONSTANTS[name])
        case ast.Constant(int() | float() as number) if not isinstance(number, bool):
            return _constant(number)
        case ast.UnaryOp(kind, operand) if type(kind) in OPERATORS:
            return _applied(OPERATORS[type(kind)], operand)
        case ast.BinOp(left, kind, right) if type(kind) in OPERATORS:
            return _applied(OPERATORS[type(kind)], left, right)
        case ast.Call(ast.Name(name), arguments, []) if name in FUNCTIONS:
            if len(arguments) != NUM_ARGUMENTS[name]:
                raise SyntaxError(f"{name} takes {NUM_ARGUMENTS[name]} argument(s)")
            return _applied(FUNCTIONS[name], *arguments)
        case ast.BinOp(_, ast.BitXor(), _):
            raise SyntaxError("a power is written **, not ^")
    raise SyntaxError(f"{ast.unparse(node)[:60]!r} is not allowed")


def _applied(function: Callable, *operands: ast.expr) -> Formula:
    inner = [_compiled(operand) for operand in operands]
    return lambda x, y: function(*(f(x, y) for f in inner))


def _constant(number: float) -> Formula:
    try:
        number = float(number)
    except OverflowError:
        raise SyntaxError("a number is too large") from None
    return lambda x, y: tf.constant(number, x.dtype)
