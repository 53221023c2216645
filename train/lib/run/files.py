"""Atomic files: a reader finds the old content or the new one, never half of either."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPORARY = ".tmp"
FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # of a zip file, which has none before


def open_file(path: Path) -> BinaryIO:
    """Open an ordinary file to read; a pipe, which might never answer, is refused.

    Raises:
      OSError: with the path in it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        number = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
        raise OSError(number, "it is not an ordinary file", str(path))
    return os.fdopen(descriptor, "rb")


def read_text(path: Path) -> str:
    """Return the text of an ordinary file. Raises ValueError if it is not UTF-8."""
    with open_file(path) as file:
        content = file.read()
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(read_text(path))


def read_npz(path: Path, leave_out: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz, {name: array}. The zip format checksums every array."""
    with open_file(path) as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no .npz")
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if name not in leave_out}


def write_npz(
    file: BinaryIO,
    arrays: Mapping[str, np.ndarray],
    texts: Mapping[str, str] | None = None,
    compress: bool = False,
) -> None:
    """Write an .npz as NumPy does, but with one date: a clock before 1980 has none for zip files.

    Args:
      file: the open file.
      arrays: {name: array}, without objects.
      texts: {name: text}, further parts.
      compress: whether to compress the parts.
    """
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", FIRST_DATE)
            entry.compress_type = kind
            with archive.open(entry, "w", force_zip64=True) as part:
                np.lib.format.write_array(part, np.asanyarray(array), allow_pickle=False)
        for name, text in (texts or {}).items():
            archive.writestr(zipfile.ZipInfo(name, FIRST_DATE), text, kind)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, which gets the name `path` when the block succeeds.

    Raises:
      OSError: with `path` in it, when the disk is full or the folder is not writable.

    Example:
        with replacing("text.txt") as file:
            file.write(b"whole, or not at all")
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
        if error.filename in (None, str(beside)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def write_png(path: Path, figure: Figure, dpi: int) -> None:
    """Write a figure of Matplotlib as PNG, atomically, with `dpi` pixels an inch."""
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=dpi)


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
