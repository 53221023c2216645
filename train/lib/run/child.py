"""Run a script as `python -m` does, but end it when its standard input does.

    python -m train.lib.run.child train.cifar10 --method=sobolev

So it outlives no process that has started it with a pipe, however that one ends.
"""

import os
import runpy
import signal
import sys
import threading
import time

GRACE = 10  # seconds to save and to end


def main() -> None:
    """Run the module that the first argument names, with the other arguments."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_input() -> None:
    os.read(0, 1)  # nothing is ever sent
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    main()
