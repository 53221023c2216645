"""Refuse requests that do not fit into memory, before the machine tries."""

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings

FLOAT = 4  # bytes of a float32
# A process that has imported TensorFlow has at least so much memory of its own.
PROCESS_BYTES = 200_000_000
NET_BYTES = 500  # of a net in the lists of what is to be done
# What a container may use, in version 2 and 1 of Linux's control groups.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def refuse_more_than_there_is(request: str, size: float) -> None:
    """Raise UsageError if `size` bytes, which `request` needs, are more than the machine has.

    Linux promises memory that is not there, and kills the process that uses it. A lower bound of
    the need is enough: what is only a little too large ends as `endings` says.

    Args:
      request: the flags, as they are typed.
      size: bytes that they need at least.
    """
    there = bytes_of_machine()
    if size > there:
        size = min(size, sys.float_info.max)  # a typed number may be larger than any float
        raise UsageError(
            f"{request} needs {size / 2**30:.3g} GiB of memory, this machine has "
            f"{there / 2**30:.3g} GiB: ask for less"
        )


def refuse_too_many_nets(settings: Settings, num_nets: int, widths: Sequence[int] = ()) -> None:
    """Raise UsageError if nets, trained --num_workers at a time, are more than fits.

    Args:
      settings: with --num_workers and, if there are several nets of a kind, --num_seeds.
      num_nets: how many nets there are in all.
      widths: widths of a net's layers, from its inputs to its output.
    """
    num_weights = sum(a * b for a, b in itertools.pairwise(widths))
    if widths:
        hidden = ",".join(map(str, widths[1:-1]))
        refuse_more_than_there_is(f"--hidden={hidden}", 2 * FLOAT * num_weights)
    if "num_seeds" in settings:
        refuse_more_than_there_is(f"--num_seeds={settings.num_seeds}", NET_BYTES * num_nets)
    at_a_time = min(settings.num_workers, num_nets)
    refuse_more_than_there_is(f"--num_workers={settings.num_workers}", PROCESS_BYTES * at_a_time)


def bytes_of_machine() -> int:
    """Return the memory of this machine, or of the container that it is."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in map(Path, LIMITS):
        try:
            there = min(there, int(path.read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return there
