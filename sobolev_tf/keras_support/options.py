"""Options that a model passes on to Keras: an unknown one is refused where it was typed."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

KERAS = ("name", "dtype", "trainable")  # arguments of keras.Model


def refuse_unknown(
    caller: str,
    options: Mapping[str, Any],
    function: Callable,
    elsewhere: Callable | None = None,
    renamed: Mapping[str, str] | None = None,
    known: Iterable[str] = KERAS,
) -> None:
    """Refuse options that nobody takes.

    Args:
      caller: the public class or method that the error names.
      options: what came as **kwargs.
      function: whose arguments the options stand beside.
      elsewhere: a method that may take them instead.
      renamed: new names by old name.
      known: the options that are passed on.

    Raises:
      ValueError: for another option; it names the nearest known one.

    Example:

    >>> def make(net, order=1, **kwargs): pass
    >>> refuse_unknown("SobolevModel", {"oder": 2}, make)
    Traceback (most recent call last):
    ValueError: SobolevModel: there is no argument 'oder'; did you mean 'order'?
    """
    unknown = [name for name in options if name not in known]
    if not unknown:
        return
    [name, *_] = unknown
    if name in (renamed or {}):
        advice = f"its name is {(renamed or {})[name]!r} now."
    elif elsewhere is not None and name in inspect.signature(elsewhere).parameters:
        advice = f"it belongs to `{elsewhere.__name__}`."
    else:
        names = [*inspect.signature(function).parameters, *known]
        names = [other for other in names if other not in ("self", "args", "kwargs")]
        close = difflib.get_close_matches(name, names, n=1)
        advice = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}."
    raise ValueError(f"{caller}: there is no argument {name!r}; {advice}")
