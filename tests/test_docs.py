"""Every example in a docstring runs, but those that show what takes a run."""

import doctest
import importlib
import pkgutil

import pytest

import sobolev_tf
import train

MODULES = [
    module.name
    for package in (sobolev_tf, train)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.FAIL_FAST).failed == 0
