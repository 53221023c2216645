"""Standard streams that never fail, even if they are closed, full, or cannot encode ±.

Imports nothing but the standard library: it runs before TensorFlow is imported.
"""

import contextlib
import io
import os
import select
import sys
from typing import TextIO

NAMES = {"stdout": "standard output", "stderr": "standard error"}


def prepare() -> None:
    """Open what is closed, as /dev/null, and let no character end the script.

    A closed descriptor would be taken by the next file that is opened, and messages would be
    written into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            redirect_to_null(descriptor)
    for descriptor, name in enumerate(NAMES, 1):
        stream = getattr(sys, name)
        if stream is None:
            stream = os.fdopen(descriptor, "w", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def redirect_to_null(descriptor: int) -> None:
    """Let a descriptor, open or not, be /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    if null == descriptor:
        os.set_inheritable(null, True)
    else:
        os.dup2(null, descriptor)
        os.close(null)


def silence_broken() -> dict[str, OSError]:
    """Return {stream that cannot be written: why}; what is left in it goes to /dev/null."""
    broken = {}
    for name, long_name in NAMES.items():
        stream = getattr(sys, name)
        try:
            stream.flush()
            os.write(stream.fileno(), b"")
            if nobody_reads(stream):
                raise BrokenPipeError
        except io.UnsupportedOperation:  # a stream without a descriptor
            continue
        except OSError as error:
            broken[long_name] = error
            with contextlib.suppress(OSError):
                redirect_to_null(stream.fileno())
    return broken


def nobody_reads(stream: TextIO) -> bool:
    """Return whether a stream is a pipe whose reader, such as `head`, has gone."""
    watch = select.poll()
    watch.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in watch.poll(0))
