"""Public names: every module lists its own, every listed name is there, and the front door opens lazily."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path

import pytest
from test_floors import ROOT, modules, name_of

import toolkit

# Scripts that run inside a foreign interpreter, and the two ways to start the command line.
PROGRAMS = ("toolkit.probe.scripts", "toolkit.cli.__main__")
NEEDS_TORCH = ("toolkit.synthesis", "toolkit.bench")


@cache
def listed(path: Path) -> list[str] | None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            value = ast.literal_eval(node.value)  # type: ignore[union-attr, arg-type]
            return [str(name) for name in value]
    return None


def is_bare(path: Path) -> bool:
    """A package that only holds modules: nothing but a docstring."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return path.name == "__init__.py" and all(isinstance(node, ast.Expr) for node in body)


def is_program(path: Path) -> bool:
    return name_of(path).startswith(PROGRAMS) or path.name == "__main__.py"


OURS = [path for path in modules() if not is_program(path) and not is_bare(path)]


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_every_module_lists_its_public_names(path: Path) -> None:
    names = listed(path)
    assert names is not None, f"{path} has no __all__"
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith("_") and name != "__version__"]


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_every_listed_name_is_there(path: Path) -> None:
    defined = _defined(path)
    for name in listed(path) or ():
        assert name in defined or hasattr(importlib.import_module(name_of(path)), name), name


def test_what_other_modules_use_is_listed() -> None:
    """A name without underscore that another module imports is public, so its own module lists it."""
    homes = {name_of(path): path for path in OURS}
    for user in modules():
        for node in ast.walk(ast.parse(user.read_text(encoding="utf-8"))):
            home = homes.get(node.module or "") if isinstance(node, ast.ImportFrom) else None
            if not isinstance(node, ast.ImportFrom) or home is None or home == user:
                continue
            names = [alias.name for alias in node.names if not (home.parent / f"{alias.name}.py").exists()]
            strange = [name for name in names if not name.startswith("_") and name not in (listed(home) or ())]
            assert strange == [], f"{name_of(user)} imports {strange} of {node.module}"


def _defined(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def test_the_front_door() -> None:
    assert toolkit.__all__ == ["__version__", "diagnose", "examine", "load"]
    for name in toolkit.__all__:
        assert getattr(toolkit, name) is not None
    assert dir(toolkit) == sorted(toolkit.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        toolkit.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "package", ["toolkit.doctor", "toolkit.probe", "toolkit.acoustics", "toolkit.tuning", "toolkit.errors"]
)
def test_each_rooms_public_names_resolve(package: str) -> None:
    room = importlib.import_module(package)
    for name in room.__all__:
        assert getattr(room, name) is not None, name


def test_the_public_names_are_documented() -> None:
    for package in ("toolkit.doctor", "toolkit.probe", "toolkit.errors"):
        room = importlib.import_module(package)
        for name in room.__all__:
            value = getattr(room, name)
            assert not callable(value) or (value.__doc__ or "").strip(), f"{package}.{name}"


def test_every_module_says_its_job_in_one_line() -> None:
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if text.strip():
            first = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
            assert first, path.relative_to(ROOT)
            assert first.endswith("."), path.relative_to(ROOT)
