"""The values of a script's flags: read once, never changed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

# Not part of a run: the folder may be moved, and TensorBoard changes no number.
NOT_STORED = ("workdir", "tensorboard")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The flags of one command, each as an attribute. Lists are tuples.

    Args:
      values: {name of a flag: its value}.
      typed: names of the flags that were typed; the others have their default or their preset's.

    >>> settings = Settings({"seed": 0, "cuts": ("a", "b")}, typed={"seed"})
    >>> settings.seed, "seed" in settings.typed, "epochs" in settings
    (0, True, False)
    >>> settings.replace(seed=3).seed
    3
    """

    values: Mapping[str, Any]
    typed: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.__dict__.get("values", ()):
            raise AttributeError(f"there is no flag --{name}")
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def replace(self, **changes: Any) -> "Settings":
        """Return a copy with other values. Raises AttributeError for a name that is no flag."""
        for name in changes:
            getattr(self, name)
        return Settings({**self.values, **changes}, self.typed)

    def stored(self) -> dict[str, Any]:
        """Return the flags for config.json, sorted by name."""
        return {k: v for k, v in sorted(self.values.items()) if k not in NOT_STORED}
