"""Atomic files: a reader finds the old content or the new one, never half of either."""

import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY = ".tmp"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, which gets the name `path` when the block succeeds.

    Raises:
      OSError: with the path in it, when the disk is full or the folder is not writable.

    Example:
        with replacing("figure.png") as file:
            plot.savefig(file)
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        with open(beside, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync_folder(path.parent)
    except OSError as error:
        raise named(error, path) from error
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinities, which JSON lacks, as null."""
    with replacing(path) as file:
        file.write(json.dumps(_finite(value), indent=2, allow_nan=False).encode() + b"\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sync_folder(folder: Path) -> None:
    """Flush renames in `folder` to the disk: otherwise a power cut may undo them."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that a killed process left in `folder`."""
    for path in Path(folder).glob(f".*{TEMPORARY}"):
        path.unlink()


def named(error: OSError, path: Path) -> OSError:
    """Return `error` with the file's name in it, which a failed write lacks."""
    return error if error.filename else OSError(error.errno, error.strerror, str(path))
