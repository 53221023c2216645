"""Scripts whose standard streams are closed, full, or of another encoding."""

import subprocess
import sys

import pytest

from train.lib.run import cli

CODE = """
import sys
from train.lib.run import cli
def main(settings):
    print("{text}")
    print("warning", file=sys.stderr)
sys.argv = ["script", *{arguments}]
cli.run(main, cli.common_flags())
"""


def started(redirect, arguments=(), text="yes", **environment):
    code = CODE.format(text=text, arguments=list(arguments))
    command = f'exec "$0" -c "$1" {redirect}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, code],
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


@pytest.mark.parametrize(
    ("redirect", "arguments", "code"),
    [
        pytest.param("2>&-", (), 0, marks=pytest.mark.slow),
        pytest.param(">&-", (), 0, marks=pytest.mark.slow),
        pytest.param("<&- >&- 2>&-", (), 0, marks=pytest.mark.slow),
        pytest.param("2>&-", ("--help",), 0, marks=pytest.mark.slow),
        pytest.param("2>&-", ("--nope",), 2, marks=pytest.mark.slow),
        (">/dev/full", (), 1),
        pytest.param(">/dev/full", ("--help",), 1, marks=pytest.mark.slow),
        pytest.param("2>/dev/full", ("--nope",), 2, marks=pytest.mark.slow),
    ],
)
def test_the_exit_code_is_right(redirect, arguments, code):
    ended = started(redirect, arguments)
    assert ended.returncode == code
    assert b"Traceback" not in ended.stderr
    if redirect == ">/dev/full":
        assert ended.stderr.endswith(
            b"standard output: No space left on device; the same command resumes\n"
        )


def test_characters_that_the_encoding_lacks_are_escaped():
    ended = started("", text="4 \\u00b1 1", PYTHONIOENCODING="ascii")
    assert ended.returncode == 0
    assert b"4 \\xb1 1" in ended.stdout


def test_one_line_has_no_control_characters(capsys):
    with pytest.raises(SystemExit):
        cli.fail("a\x1b[31mb\udce9", 2)
    assert capsys.readouterr().err.endswith("a\\x1b[31mb\\udce9\n")
