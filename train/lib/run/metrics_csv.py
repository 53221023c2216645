"""metrics.csv: one row an epoch, whole lines only, none beyond the step a run goes on from."""

import csv
import io
import os
from pathlib import Path

from train.lib.run import files
from train.lib.run.errors import UsageError


class History:
    """metrics.csv: rows are appended; the columns are those of the first row.

    `step` is the step that was restored: rows beyond it, and a half-written last line, go.
    """

    def __init__(self, path, step=0):
        self.path = Path(path)
        self.rows = [row for row in numeric_rows(self.path) if int(row["step"]) <= step]
        if self.path.exists():
            with files.replacing(self.path) as file:
                file.write(as_csv(self.rows, header=True))

    def append(self, row):
        """Write one row and wait until the disk has it. Raises ValueError for other columns."""
        if self.rows and list(row) != list(self.rows[0]):
            raise ValueError(f"{self.path} has columns {list(self.rows[0])}, got {list(row)}.")
        line = as_csv([row], header=not self.rows)
        try:
            with open(self.path, "ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise files.named(error, self.path) from error
        self.rows.append(row)


def read_rows(path):
    """Return the complete rows of a metrics.csv as dicts of strings; [] if there is no file."""
    if not Path(path).exists():
        return []
    complete, _, _ = Path(path).read_text().rpartition("\n")
    return [row for row in csv.DictReader(io.StringIO(complete)) if None not in row.values()]


def numeric_rows(path):
    """Return `read_rows`, or raise UsageError where a value is no number or a row has no step."""
    try:
        rows = read_rows(path)
        for row in rows:
            int(row["step"])
            [float(value) for value in row.values()]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(f"{path} is damaged: choose another --workdir") from error
    return rows


def checked_rows(path, numbers, texts=(), remedy="run the run's command again"):
    """The rows of a finished run's metrics.csv: {name: float of `numbers`, text of `texts`}.

    Raises UsageError, with the `remedy`, where there are none, or one lacks a column or has
    something else in it.
    """
    try:
        complete, _, _ = Path(path).read_text().rpartition("\n")
        rows = [
            {name: row[name] for name in texts} | {name: float(row[name]) for name in numbers}
            for row in csv.DictReader(io.StringIO(complete), restval="")
        ]
        if not rows:
            raise ValueError("it has no rows")
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise UsageError(f"{path} is missing or damaged ({error!r}): {remedy}") from error
    return rows


def as_csv(rows, header):
    """Return `rows`, dicts with the same keys, as CSV bytes."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
    return text.getvalue().encode()
