"""Requests that cannot fit into memory are refused before the machine tries."""

import os

from train.lib.run.errors import UsageError


def refuse_more_than_there_is(flag: str, size: float) -> None:
    """Raise UsageError where `size` bytes, which `flag` asks for, are more than the machine has.

    Linux promises memory that is not there, and kills the process that uses it.
    """
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > there:
        raise UsageError(
            f"{flag} needs {size / 2**30:.3g} GiB of memory, this machine has "
            f"{there / 2**30:.3g} GiB: ask for less"
        )
