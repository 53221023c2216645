"""Ctrl-C before a script has begun."""

import signal
import subprocess
import sys

from train.lib.run import interrupts

CODE = """
import sys
sys.argv[0] = "-m"  # as while a package is imported
from train.lib.run import interrupts
interrupts.prepare()
raise {}
"""


def ended(error):
    command = [sys.executable, "-c", CODE.format(error)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_ctrl_c_is_one_line_and_what_a_shell_expects():
    process = ended("KeyboardInterrupt")
    assert process.stderr == "stopped by Ctrl-C\n"
    assert process.returncode == -signal.SIGINT


def test_other_exceptions_are_printed_as_ever(capsys):
    interrupts.one_line(ValueError, ValueError("broken"), None)
    assert capsys.readouterr().err == "ValueError: broken\n"


def test_who_imports_the_package_keeps_the_hook(monkeypatch):
    before = sys.excepthook
    monkeypatch.setattr("sys.argv", ["program"])
    interrupts.prepare()
    assert sys.excepthook is before
