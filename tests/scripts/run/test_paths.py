"""Paths as they are typed."""

import os
from pathlib import Path

import pytest

from train.lib.run import cli, paths
from train.lib.run.errors import UsageError


@pytest.mark.parametrize("typed", ["runs/a", "/tmp/a b", "./~a", "-", "C:\\runs"])
def test_paths_stay_as_they_are(typed):
    assert paths.typed("workdir", typed) == typed


def test_a_home_directory_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    settings = cli.parse(cli.common_flags(), ["script", "--workdir=~/runs/a"])
    assert cli.workdir(settings) == Path("/home/me/runs/a")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "--workdir= is empty: give it a value, or leave the flag out"),
        ("gs://bucket/a", "expected a path of this machine"),
        ("s3://bucket/a", "expected a path of this machine"),
        ("file:///tmp/a", "expected a path of this machine"),
        ("~nobody-of-that-name/a", "there is no such home directory"),
        ("runs/a*", r"takes '\*' for a pattern"),
        ("runs/a[1]", r"takes '\[' for a pattern"),
        ("what?", r"takes '\?' for a pattern"),
        (os.fsdecode(b"caf\xe9"), "not UTF-8"),
    ],
)
def test_what_cannot_be_a_workdir_is_refused_at_once(typed, message):
    with pytest.raises(UsageError, match=message):
        cli.parse(cli.common_flags(), ["script", f"--workdir={typed}"])


def test_patterns_are_for_the_workdir_alone():
    assert paths.typed("recording", "runs/a[1]") == "runs/a[1]"
