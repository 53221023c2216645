"""Every example in a docstring of the library runs."""

import doctest
import importlib
import pkgutil

import pytest

import sobolev_tf

MODULES = [m.name for m in pkgutil.iter_modules(sobolev_tf.__path__, "sobolev_tf.")]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.FAIL_FAST).failed == 0
