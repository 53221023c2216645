"""The Python classes that a data set's features.json names, which TFDS would import."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from train.lib.run import files
from train.lib.run.errors import UsageError

FILE = "features.json"
TFDS_OWN = re.compile(r"tensorflow_datasets\.core\.features(\.[A-Za-z_]\w*)+")
KEYS = ("pythonClassName", "type")  # of today's files, and of older ones


def check(folder: Path) -> None:
    """Raise UsageError if features.json names a class of anything but TFDS's own features.

    TFDS would import the class's module, and so run code that a data set has chosen. Call it
    within `errors.reading`: a file that is no JSON raises what the parser does.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return  # TFDS says so
    for name in _class_names(files.read_json(path)):
        if not (isinstance(name, str) and TFDS_OWN.fullmatch(name)):
            raise UsageError(
                f"{path} names the class {name!r}, whose module would be imported: expected "
                "features of tensorflow_datasets.core.features alone"
            )


def _class_names(content: Any) -> Iterator[Any]:
    """Yield every class's name, at any depth; no recursion: a file may be nested deeply."""
    rest = [content]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            yield from (value[key] for key in KEYS if isinstance(value.get(key), str))
            rest += value.values()
        elif isinstance(value, list):
            rest += value
