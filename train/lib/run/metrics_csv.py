"""metrics.csv: one row an epoch, only whole lines, none beyond the step at which a run resumes."""

import csv
import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from train.lib.run import files, old_flags, schema
from train.lib.run.errors import UsageError, reading


class History:
    """metrics.csv of a run: rows are appended; the columns are those of the first row.

    Rows beyond the step that was restored, and a half-written last line, go when the first row is
    appended: until then the file stays as it is.

    Args:
      path: the file.
      step: the step that was restored.
      columns: those that it must have, where there are rows.

    Raises:
      UsageError: if a value is no number, or a column is missing.
    """

    def __init__(self, path: Path, step: int = 0, columns: Iterable[str] = ("step",)):
        self.path = Path(path)
        self.rows: list[Mapping[str, float]] = []
        self._kept: list[str] | None = None  # lines to begin with, where others follow them
        if not self.path.exists():
            return
        with reading(self.path, "choose another --workdir", "is damaged"):
            lines = whole_lines(self.path)
            rows = _parse(lines)
            if rows:
                schema.check_columns(rows[0], columns)
            self.rows = [row for row in rows if row["step"] <= step]
        self._kept = lines[: 1 + len(self.rows)] if self.rows else []
        if (lost := len(rows) - len(self.rows)) > 1:
            print(
                f"{self.path} has {lost} rows beyond step {max(step, 0)}, where the run resumes: "
                "they will be written again",
                file=sys.stderr,
            )

    def append(self, row: Mapping[str, float]) -> None:
        """Write one row and wait until the disk has it. Raises UsageError for other columns."""
        if self.rows and list(row) != list(self.rows[0]):
            raise UsageError(
                f"{self.path} has columns {list(self.rows[0])}, a row has {list(row)}: it was "
                "changed since it was written; choose another --workdir"
            )
        line = as_csv([row], header=not self.rows)
        if self._kept is not None:
            with files.replacing(self.path) as file:
                file.write("".join(self._kept).encode())
            self._kept = None
        try:
            with open(self.path, "ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise files.named(error, self.path) from error
        self.rows.append(row)


def read_rows(
    path: Path,
    numbers: Iterable[str] | None = None,
    texts: Sequence[str] = (),
    remedy: str = "run its command again",
    script: str | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of a finished run's metrics.csv.

    Args:
      path: the file.
      numbers: columns to return as floats; None for all that are not in `texts`.
      texts: columns to return as text.
      remedy: what to do about a damaged file, for the error.
      script: the run's script, where columns are named after its flags: those of older runs are
        returned with today's names and values.

    Raises:
      UsageError: there are no rows, or one lacks a column or has something else in it.
    """
    with reading(path, remedy):
        rows = _parse(whole_lines(path), numbers, texts, script)
        if not rows:
            raise ValueError("it has no rows")
    return rows


def whole_lines(path: Path) -> list[str]:
    """Return the lines of a file, without one that was not written to its end."""
    return [line for line in files.read_text(path).splitlines(True) if line.endswith("\n")]


def _parse(
    lines: Iterable[str],
    numbers: Iterable[str] | None = None,
    texts: Sequence[str] = (),
    script: str | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of CSV lines. Raises KeyError, ValueError, TypeError or csv.Error."""
    rows = []
    for stored in csv.DictReader(lines, restval=""):
        row = old_flags.rename(script, stored) if script else stored
        names = [name for name in row if name not in texts] if numbers is None else numbers
        rows.append(
            {name: row[name] for name in texts} | {name: float(row[name]) for name in names}
        )
    return rows


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace a file by the rows and their header; it is whole at any moment."""
    with files.replacing(path) as file:
        file.write(as_csv(rows, header=True))


def as_csv(rows: Sequence[Mapping[str, Any]], header: bool) -> bytes:
    """Return `rows`, dicts with the same keys, as CSV bytes."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
    return text.getvalue().encode()
