"""Import TensorFlow without its start-up noise; real warnings and errors still get through."""

import contextlib
import os
import re
import sys
import tempfile

# Lines that every import prints, whatever the machine, and that ask for nothing.
NOISE = re.compile(
    rb"All log messages before absl::InitializeLog"
    rb"|^I\d{4} "
    rb"|Unable to register cu\w+ factory"
    rb"|computation placer already registered"
    rb"|failed call to cuInit: .*(UNKNOWN ERROR \(303\)|no CUDA-capable device)"  # no GPU here
)


def import_tensorflow() -> None:
    """Import tensorflow; of what it prints, drop the known noise and pass on the rest.

    TensorFlow writes these lines below Python's `sys.stderr`, so the file descriptor itself goes
    to a temporary file during the import. TF_CPP_MIN_LOG_LEVEL=0 shows all.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # 1: warnings and errors.
    if level == "0" or "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            import tensorflow

            tensorflow.config.list_physical_devices()  # prints about a missing GPU
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            printed.seek(0)
            if rest := without_noise(printed.read()):
                with contextlib.suppress(OSError):  # standard error may be full
                    os.write(2, rest)


def without_noise(printed: bytes) -> bytes:
    """Return the lines of `printed` that are not noise.

    >>> without_noise(b"I0000 00:00:1.5 1 port.cc:153] oneDNN is on\\nE0000 no memory\\n")
    b'E0000 no memory\\n'
    """
    return b"".join(line for line in printed.splitlines(True) if not NOISE.search(line))
