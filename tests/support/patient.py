"""A script that waits for SIGTERM, and then says that it has saved.

python -m tests.support.patient
"""

import signal
import sys


def save(number, frame):
    print("saved", flush=True)
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, save)
    print("waiting", flush=True)
    while True:
        signal.pause()
