"""Titles of figures: what was run, and which of its flags differ from their defaults."""

from collections.abc import Mapping
from typing import Any


def title(subject: str, flags: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return `subject` and, on a second line, the flags that differ from `defaults`.

    Args:
      subject: what was run.
      flags: those of the run; one that is missing has its default.
      defaults: {flag to compare: its default}.

    Example:

    >>> print(title("Distillation, pong", {"seed": 1, "alpha": 0.01}, {"seed": 0, "alpha": None}))
    Distillation, pong
    seed=1, alpha=0.01
    """
    differ = [
        f"{name}={flags[name]}"
        for name, default in defaults.items()
        if flags.get(name, default) != default
    ]
    return "\n".join([subject, ", ".join(differ)]) if differ else subject
