"""Loops in processes of their own, which wait until they are called."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any


class Served:
    """A loop of another process: called with n, it returns what that process prints for n.

    Args:
      command: a Python file, or -m and a module, and its arguments.
      environment: variables that are set for the process.
    """

    def __init__(self, *command: str, **environment: str) -> None:
        pipe = subprocess.PIPE
        self.process: Any = subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | environment,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self(1)

    def __call__(self, n: int) -> int:
        print(n, file=self.process.stdin, flush=True)
        printed = self.process.stdout.readline()
        if not printed:
            raise RuntimeError(f"{self.process.args} ended: run it by hand, and type a number")
        return int(printed)

    def __del__(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()  # it has nothing to lose
        self.process.wait()


def serve(run: Callable[[int], int]) -> None:
    """Call `run` with the number on each line of stdin, and print the number it returns."""
    for line in sys.stdin:
        print(run(int(line)), flush=True)
