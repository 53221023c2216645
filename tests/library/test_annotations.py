"""Every public function and method of the library says what it takes and what it returns."""

import importlib
import inspect
import pkgutil

import pytest

import sobolev_tf

MODULES = [
    "sobolev_tf",
    *(m.name for m in pkgutil.walk_packages(sobolev_tf.__path__, "sobolev_tf.")),
]


def functions_of(module):
    """(name, function) of what is public and defined in a module: methods and properties, too."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            for attribute, member in vars(value).items():
                member = getattr(member, "__func__", member)  # a class method, a static method
                member = member.fget if isinstance(member, property) else member
                own = inspect.isfunction(member) and member.__module__ == module.__name__
                if own and not attribute.startswith("_"):
                    yield f"{name}.{attribute}", member
        elif inspect.isfunction(inspect.unwrap(value)):
            yield name, inspect.unwrap(value)


def gaps(name, function):
    """The arguments of a function, or "return", that have no annotation."""
    signature = inspect.signature(function)
    for argument in signature.parameters.values():
        if argument.annotation is argument.empty and argument.name not in ("self", "cls"):
            yield f"{name}({argument.name})"
    if signature.return_annotation is signature.empty:
        yield f"{name} -> ?"


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_are_annotated(name):
    module = importlib.import_module(name)
    missing = [gap for known in functions_of(module) for gap in gaps(*known)]
    assert not missing
