"""Files that state what they are, so that renamed, exchanged or copied ones are noticed.

A file's name may be wrong. So what a file is of, such as a net's function, points, method and seed,
stands in it too, and is compared when the file is read. Files of older runs do not state it, and
are read as before.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from train.lib.run import files

PART = "identity.json"  # of an .npz


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], identity: Mapping[str, Any]) -> None:
    """Write an .npz, atomically, that states its identity.

    Args:
      path: the file.
      arrays: {name: array}.
      identity: what the file is of, as JSON can hold it.
    """
    with files.replacing(path) as file:
        files.write_npz(file, arrays, {PART: json.dumps(identity)})


def read_npz(path: Path, identity: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz. Raises ValueError if it states another identity."""
    arrays: dict[str, Any] = files.read_npz(path)
    if PART in arrays:
        check(json.loads(np.asarray(arrays.pop(PART)).item()), identity)
    return arrays


def digest(folder: Path) -> str:
    """Return a digest of the names and contents of all files below `folder`."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with files.open_file(path) as file:
            content = hashlib.sha256(file.read()).hexdigest()
        total.update(f"{path.relative_to(folder)}:{content}\n".encode())
    return total.hexdigest()[:16]


def check(stated: Any, expected: Mapping[str, Any]) -> None:
    """Raise ValueError, naming what differs, unless all that both of them state is equal.

    Args:
      stated: what the file states.
      expected: what it is to be.

    >>> check({"seed": 1, "hidden": [64, 64]}, {"seed": 1, "hidden": (64, 64)})
    >>> check({"seed": 1, "size": 20}, {"seed": 0, "size": 20})
    Traceback (most recent call last):
    ValueError: it is the file of seed 1, expected that of seed 0
    """
    if not isinstance(stated, dict):
        raise ValueError(f"its identity is {stated!r:.60}, expected a dict")
    wanted = json.loads(json.dumps(expected))
    differ = [name for name in wanted if name in stated and stated[name] != wanted[name]]
    if differ:
        there = ", ".join(f"{name} {stated[name]}" for name in differ)
        here = ", ".join(f"{name} {wanted[name]}" for name in differ)
        raise ValueError(f"it is the file of {there}, expected that of {here}")
