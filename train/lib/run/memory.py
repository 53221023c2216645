"""Requests that cannot fit into memory are refused before the machine tries."""

import os
from pathlib import Path

from train.lib.run.errors import UsageError

FLOAT = 4  # bytes of a float32
# A process that has imported TensorFlow has at least so much memory of its own.
PROCESS_BYTES = 200_000_000
# What a container may use, in version 2 and 1 of Linux's control groups.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def refuse_more_than_there_is(request: str, size: float) -> None:
    """Raise UsageError where `size` bytes, which `request` needs, are more than the machine has.

    Linux promises memory that is not there, and kills the process that uses it. A lower bound of
    the need is enough: what is only a little too large ends as `endings` says.

    Args:
      request: the flags, as they are typed.
      size: bytes that they need at least.
    """
    there = bytes_of_machine()
    if size > there:
        raise UsageError(
            f"{request} needs {size / 2**30:.3g} GiB of memory, this machine has "
            f"{there / 2**30:.3g} GiB: ask for less"
        )


def bytes_of_machine() -> int:
    """Return the memory of this machine, or of the container that it is."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in map(Path, LIMITS):
        try:
            there = min(there, int(path.read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return there
