"""Paths as they are typed: `~` is expanded; what cannot be a path of this machine is refused."""

import os
import re

from train.lib.run.errors import UsageError

# The flags that take a path (some take a name as well).
FLAGS = {
    "workdir", "data_dir", "dataset", "recording", "teacher", "eval_policy", "gif", "init_from",
    "release",
}  # fmt: skip
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
PATTERN = re.compile(r"[*?\[\]]")


def typed(flag: str, path: str) -> str:
    """Return the path of a flag with `~` expanded: shells leave it as it is after --flag=.

    Raises:
      UsageError: for an empty value, the address of a bucket or server, a home directory that does
        not exist, and a --workdir that TensorFlow could not load a SavedModel from.
    """
    if not path:
        raise UsageError(f"--{flag}= is empty: give it a value, or leave the flag out")
    if URL.match(path):
        raise UsageError(f"--{flag}={path}: expected a path of this machine, not an address")
    expanded = os.path.expanduser(path)
    if path.startswith("~") and expanded == path:
        raise UsageError(f"--{flag}={path}: there is no such home directory; type the whole path")
    if flag == "workdir":
        check_workdir(expanded)
    return expanded


def check_workdir(path: str) -> None:
    """Raise UsageError for a name under which TensorFlow would not find a SavedModel again."""
    if found := PATTERN.search(path):
        raise UsageError(
            f"--workdir={path}: TensorFlow takes {found[0]!r} for a pattern; choose a --workdir "
            "without * ? [ ]"
        )
    try:
        os.path.abspath(path).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"--workdir={os.path.abspath(path)}: the name is not UTF-8, which TensorFlow needs; "
            "choose another --workdir"
        ) from None
