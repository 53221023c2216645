"""What the package shows: names, version, type hints, and an installable distribution."""

import re
import tomllib
import types
from pathlib import Path

import sobolev_tf as st

ROOT = Path(__file__).parent.parent.parent


def test_every_public_name_is_there_and_no_helper_module_is_among_them():
    assert list(st.__all__) == sorted(st.__all__)
    public = {name: getattr(st, name) for name in st.__all__}
    modules = {name for name, value in public.items() if isinstance(value, types.ModuleType)}
    assert modules == {"distillation", "losses", "nets", "schedules", "synthetic", "targets"}
    for value in public.values():
        assert value.__doc__


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert re.fullmatch(r"\d+\.\d+\.\d+", st.__version__)
    assert project["project"]["dynamic"] == ["version"]
    tool = project["tool"]["setuptools"]
    assert tool["dynamic"]["version"] == {"attr": "sobolev_tf.__version__"}


def test_the_distribution_has_every_package_and_says_that_it_is_typed():
    library = ROOT / "sobolev_tf"
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert tool["packages"]["find"]["include"] == ["sobolev_tf*"]
    for module in library.rglob("*.py"):
        assert (module.parent / "__init__.py").exists()
    assert (library / "py.typed").exists()
    assert tool["package-data"] == {"sobolev_tf": ["py.typed"]}
