"""Directories that appear whole or not at all, since a process that writes one may be killed."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

# What a SavedModel may hold. A directory that holds anything else is not replaced.
_ENTRIES = {"saved_model.pb", "fingerprint.pb", "assets", "variables", "keras_metadata.pb"}

_NEW, _OLD = ".new-", ".old-"  # what follows the name of a directory that is being replaced


@contextlib.contextmanager
def replaced_directory(path: str | os.PathLike) -> Iterator[str]:
    """Replace a SavedModel by a directory that is written first and renamed last.

    Args:
      path: the directory; its parents are made.

    Yields:
      The name of a directory to write. It takes the place of `path` when the block ends, and is
      removed when the block raises.

    Raises:
      ValueError: `path` holds something that is not a SavedModel, or more than one.
    """
    path = os.path.abspath(os.fspath(path))
    if not is_replaceable(path):
        raise ValueError(f"{path} exists and is not a SavedModel: choose another directory.")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    new, old = (f"{path}{mark}{uuid.uuid4().hex[:8]}" for mark in (_NEW, _OLD))
    try:
        yield new
        if os.path.exists(path):
            os.rename(path, old)
        os.rename(new, path)
    finally:
        if os.path.exists(old) and not os.path.lexists(path):
            os.rename(old, path)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def is_replaceable(path: str | os.PathLike) -> bool:
    """Return whether nothing but a SavedModel, or nothing at all, is at `path`."""
    if not os.path.lexists(path):
        return True
    return os.path.isdir(path) and set(os.listdir(path)) <= _ENTRIES


def remove_leftovers(path: str | os.PathLike) -> None:
    """Remove what a killed `replaced_directory` left beside `path`.

    Where nothing is at `path`, it was killed between its two renames; what it was about to replace
    is put back.

    Call it only where no other process may be writing there.

    Args:
      path: the directory that was to be replaced.
    """
    path = Path(path)
    # A rename sets ctime: the last one was at `path` last.
    replaced = sorted(path.parent.glob(f"{path.name}{_OLD}*"), key=lambda p: p.stat().st_ctime_ns)
    if replaced and not os.path.lexists(path):
        os.rename(replaced[-1], path)
    for mark in (_NEW, _OLD):
        for leftover in path.parent.glob(f"{path.name}{mark}*"):
            shutil.rmtree(leftover, ignore_errors=True)
