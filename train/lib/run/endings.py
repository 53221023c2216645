"""The line and the exit code of a script that ends in an exception."""

import errno
import importlib.util
import linecache
import shutil
import signal
from pathlib import Path

import tensorflow as tf

from train.lib.run import standard_streams
from train.lib.run.errors import last_line

# Found, not imported: train.cluster does without it.
SPEC = importlib.util.find_spec("sobolev_tf")
LIBRARY = Path(SPEC.origin).parent if SPEC and SPEC.origin else Path("/nowhere")
# The path is at fault, not the machine.
UNUSABLE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR,
    errno.EEXIST, errno.ELOOP, errno.ENXIO,
)  # fmt: skip
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def ending(error: BaseException) -> tuple[object, int] | None:
    """Return the line and the exit code of an exception; None for a bug, which is to be seen.

    Exit codes: 2 for what other flags or another --workdir mend, 1 for the rest, 130 for Ctrl-C,
    141 if nobody reads the output any more (then without a line).
    """
    match error:
        case KeyboardInterrupt():
            return "stopped by Ctrl-C", 128 + signal.SIGINT
        case OSError():
            return _of_system(error)
        case MemoryError() | tf.errors.ResourceExhaustedError():
            return f"out of memory: {last_line(error)}; ask for less, or for smaller batches", 2
        case FloatingPointError():
            return error, 1
        case ValueError() if raised_by_library(error):
            return error, 2
    return None


def _of_system(error: OSError) -> tuple[str, int] | None:
    if isinstance(error, shutil.Error):  # of a whole tree: (from, to, reason) of each file
        _, path, reason = error.args[0][0]
        return f"{path}: {reason}; the same command resumes", 1
    if error.filename is None:
        broken = standard_streams.silence_broken()
        if any(isinstance(each, BrokenPipeError) for each in broken.values()):
            return "", 128 + signal.SIGPIPE
        if isinstance(error, BrokenPipeError) or error.errno is None:
            return None  # another pipe, or raised by Python code: a bug
        # Files are named where they are written.
        where = next(iter(broken), standard_streams.NAMES["stdout"])
        if error.errno in FULL:
            return f"{where}: {error.strerror}; the same command resumes", 1
        return error.strerror or str(error), 1
    reason = f"{error.filename}: {error.strerror}"
    if error.errno in UNUSABLE:
        return f"{reason}; choose another --workdir", 2
    if error.errno in FULL:
        return f"{reason}; make room, the same command resumes", 1
    return reason, 1


def raised_by_library(error: BaseException) -> bool:
    """Return whether a `raise` of sobolev_tf made the error: it is about input, and no bug."""
    traceback = error.__traceback__
    if traceback is None:
        return False
    while traceback.tb_next:
        traceback = traceback.tb_next
    path = traceback.tb_frame.f_code.co_filename
    line = linecache.getline(path, traceback.tb_lineno)
    return Path(path).is_relative_to(LIBRARY) and line.lstrip().startswith("raise")
