"""Runs older than the flags' new names: their folders are read, and resume with today's command."""

import json
from pathlib import Path

import pytest

from train import cifar10, imagenet
from train.distill import __main__ as distill
from train.forces import __main__ as forces
from train.lib.run import cli, old_flags, run_folder
from train.lib.run.help_text import as_typed
from train.pricing import __main__ as pricing
from train.record import __main__ as record
from train.regression import __main__ as regression
from train.teacher import __main__ as teacher

SCRIPTS = {
    "cifar10": cifar10,
    "distill": distill,
    "forces": forces,
    "imagenet": imagenet,
    "pricing": pricing,
    "record": record,
    "regression": regression,
    "teacher": teacher,
}
RESULTS = Path(__file__).parents[3] / "train" / "results"
CONFIGS = sorted(RESULTS.rglob("config.json"))


def command(script, flags):
    """The command line that sets flags as a run has them."""
    typed = []
    for name, value in flags.items():
        flag = SCRIPTS[script].FLAGS[name]
        if flag.boolean:
            typed.append(f"--{'' if value else 'no'}{name}")
        elif isinstance(value, list) and flag.flag_type().startswith("multi"):
            typed += [f"--{name}={element}" for element in value]
        elif value is not None:
            typed.append(f"--{name}={as_typed(value)}")
    return typed


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.parent.relative_to(RESULTS)))
def test_committed_runs_resume_with_todays_command(path, tmp_path):
    """Every flag is one of the script today, and takes the value that the run has."""
    config = run_folder.read_config(path)
    script = config["script"]
    assert set(config["flags"]) <= set(SCRIPTS[script].FLAGS)
    (tmp_path / "config.json").write_text(path.read_text())
    typed = command(script, old_flags.complete(script, config["flags"]))
    settings = cli.parse(SCRIPTS[script].FLAGS, [script, *typed])
    with run_folder.Run(tmp_path, settings.stored(), script) as run:
        assert run.config["flags"] == json.loads(json.dumps(settings.stored()))


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        (script, old, new)
        for script in SCRIPTS
        for old, new in old_flags.NAMES.get(script, {}).items()
    ],
)
def test_an_old_name_is_refused_with_its_new_one(script, old, new, run_script):
    assert old not in SCRIPTS[script].FLAGS
    assert new in SCRIPTS[script].FLAGS
    code, _, err = run_script(SCRIPTS[script], f"--{old}=1")
    assert (code, err.count("\n")) == (2, 1)
    assert f"--{old} has a new name: --{new}" in err


@pytest.mark.parametrize(
    ("script", "name", "old", "new"),
    [
        ("cifar10", "schedule", "steps", "piecewise"),
        ("imagenet", "schedule", "steps", "piecewise"),
        ("distill", "train_boundary", "cut", "step"),
        ("distill", "train_boundary", "whole", "episode"),
        ("distill", "method", "regular", "values"),
    ],
)
def test_an_old_value_is_refused_with_its_new_name_and_read_from_folders(
    script, name, old, new, run_script
):
    needed = ["--game=pong", "--recording=nowhere"] if script == "distill" else []
    code, _, err = run_script(SCRIPTS[script], *needed, f"--{name}={old}")
    assert (code, err.count("\n")) == (2, 1)
    assert f"--{name}={old} has a new name: --{name}={new}" in err
    assert old_flags.rename(script, {name: old}) == {name: new}
