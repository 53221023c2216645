"""Titles of figures: what was run, and which of its flags differ from their defaults."""

import textwrap
from collections.abc import Mapping
from typing import Any

from train.lib.run.help_text import as_typed

WIDTH = 56  # characters that fit into the narrowest figure


def title(subject: str, flags: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return `subject` and, on lines of their own, the flags that differ from `defaults`.

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
        f"{name}={as_typed(flags[name])}"
        for name, default in defaults.items()
        if flags.get(name, default) != default
    ]
    lines = textwrap.wrap(", ".join(differ), WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join([subject, *lines])


def game_name(game: str) -> str:
    """Return the name of a game as people write it.

    >>> game_name("space_invaders")
    'Space Invaders'
    """
    return game.replace("_", " ").title()
