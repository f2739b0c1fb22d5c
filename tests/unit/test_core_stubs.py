"""What type checkers are told about the compiled modules is what the modules are.

``python -m mypy.stubtest openbell.core.ring`` looks closer, and takes its time; names and parameters are compared here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

MODULES = (
    "words",
    "symbols",
    "ring",
    "follow",
    "pingpong",
    "snapshot",
    "apply",
    "evaluate",
    "bars",
    "histogram",
    "plan",
    "holes",
    "listener",
    "baseline",
    "tether",
    "gate",
    "watch",
)
# What the plan borrows from the vocabulary, for a check at import.
BORROWED = {"PLAN_WINDOW"}


def module_of(name: str) -> tuple[ModuleType, ast.Module]:
    module = importlib.import_module(f"openbell.core.{name}")
    assert module.__file__ is not None
    return module, ast.parse((Path(module.__file__).parent / f"{name}.pyi").read_text())


def own_names(module: ModuleType) -> set[str]:
    """Return the public names that a compiled module defines itself."""
    found = set()
    for name, value in vars(module).items():
        here = getattr(value, "__module__", module.__name__) == module.__name__
        if not name.startswith("_") and here and not isinstance(value, ModuleType):
            found.add(name)
    return found - BORROWED


def described(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Return the public names that a stub, or a class of it, describes."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def functions(module: ModuleType, stub: ast.Module) -> Iterator[tuple[str, ast.FunctionDef, Any]]:
    """Yield name, description and compiled function of everything that can be called."""
    for name, node in described(stub.body).items():
        if isinstance(node, ast.FunctionDef):
            yield name, node, getattr(module, name)
        elif isinstance(node, ast.ClassDef):
            for method, inner in described(node.body).items():
                made = getattr(getattr(module, name), method)
                # The constructor of an extension type has no signature to compare with.
                if isinstance(inner, ast.FunctionDef) and not inner.decorator_list and method != "__init__":
                    yield f"{name}.{method}", inner, made


@pytest.mark.parametrize("name", MODULES)
def test_a_stub_describes_every_public_name_and_no_other(name: str) -> None:
    module, stub = module_of(name)
    assert set(described(stub.body)) == own_names(module)


@pytest.mark.parametrize("name", MODULES)
def test_a_stub_describes_every_public_member_of_a_class_and_no_other(name: str) -> None:
    module, stub = module_of(name)
    for known, node in described(stub.body).items():
        if not isinstance(node, ast.ClassDef):
            continue
        made = getattr(module, known)
        inherited = {each for base in made.__mro__[1:] for each in vars(base)}
        members = {each for each in vars(made) if not each.startswith("_")} - inherited
        assert {each for each in described(node.body) if not each.startswith("__")} == members
        for member, inner in described(node.body).items():
            is_property = isinstance(inner, ast.FunctionDef) and bool(inner.decorator_list)
            assert callable(getattr(made, member)) != is_property, f"{known}.{member}"


@pytest.mark.parametrize("name", MODULES)
def test_parameters_have_the_names_and_defaults_that_the_stub_gives(name: str) -> None:
    module, stub = module_of(name)
    for label, node, made in functions(module, stub):
        if label.endswith("__len__"):
            continue
        parameters = inspect.signature(made).parameters
        assert [each.arg for each in (*node.args.args, *node.args.kwonlyargs)] == list(parameters), label
        given = [ast.literal_eval(default) for default in node.args.defaults]
        compiled = [each.default for each in parameters.values() if each.default is not inspect.Parameter.empty]
        assert given == compiled, label
