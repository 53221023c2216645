"""Loops in processes of their own, which hold still until they are asked."""

import os
import subprocess
import sys


class Served:
    """n -> what the loop of another process answers to n; `command` is a Python file or module."""

    def __init__(self, *command, **environment):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | environment,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self(1)

    def __call__(self, n):
        print(n, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args} ended: run it by hand, and type a number")
        return int(answer)

    def __del__(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()  # it has nothing to lose
        self.process.wait()


def serve(run):
    """Calls `run` with the number on each line of stdin, and prints the number that it answers."""
    for line in sys.stdin:
        print(run(int(line)), flush=True)
