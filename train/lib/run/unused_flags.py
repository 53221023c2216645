"""Refuse flags that were typed and that a command would not use."""

from collections.abc import Iterable

from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings


def refuse(settings: Settings, unused: Iterable[str], command: str) -> None:
    """Raise UsageError if one of the flags `unused` was typed.

    Args:
      settings: those of the command.
      unused: names of flags that would have no effect.
      command: completes "--NAME is not for ...".
    """
    if typed := sorted(settings.typed & set(unused)):
        raise UsageError(f"--{typed[0]} is not for {command}: drop it")
