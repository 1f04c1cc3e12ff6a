"""The floors of the house, from the imports: a room uses what lies below it, never what lies above or beside."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# DESIGN.md, "Floors". Rooms of one floor do not know each other.
FLOORS = {
    "notebooks": 6,
    "toolkit.cli": 5,
    "toolkit.widgets": 5,
    "toolkit.service": 4,
    "toolkit.tuning": 4,
    "toolkit.bench": 4,
    "toolkit.migrate": 4,
    "toolkit.doctor": 3,
    "toolkit.synthesis": 2,
    "toolkit.acoustics": 2,
    "toolkit.probe": 2,
    "toolkit.errors": 1,
    "toolkit.lazy": 1,
    "troubleshoot": 0,
}
# The front door: its lazy names may point anywhere, and its version may be read from everywhere.
DOOR = "toolkit"
# What the ground floor must not even know by name.
FOREIGN_TO_THE_GROUND = ("torch", "transformers", "numpy", "scipy", "pynvml", "pandas", "ipywidgets", "toolkit")
HEAVY = ("torch", "transformers", "pandas")


def modules() -> Iterator[Path]:
    for package in ("toolkit", "troubleshoot"):
        yield from sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name: str) -> str:
    return next((room for room in FLOORS if name == room or name.startswith(f"{room}.")), name.split(".")[0])


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of all that a module imports, also inside functions, and by name through ``import_module``."""
    package = name_of(path).split(".") if path.name == "__init__.py" else name_of(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, node.module or ""]).strip(".")
            # `from toolkit import doctor` imports a room, `from toolkit import __version__` a name.
            yield from ((node.lineno, f"{source}.{alias.name}" if source == DOOR else source) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            yield from ((node.lineno, text) for text in _texts(node))


def _texts(call: ast.Call) -> Iterator[str]:
    for argument in call.args[:1]:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value
        elif isinstance(argument, ast.JoinedStr):
            first = argument.values[0]
            if isinstance(first, ast.Constant):
                yield str(first.value).rstrip(".")


def is_ours(name: str) -> bool:
    return name.split(".")[0] in ("toolkit", "troubleshoot", "notebooks")


@pytest.mark.parametrize("path", list(modules()), ids=name_of)
def test_a_room_uses_only_what_lies_below_it(path: Path) -> None:
    room = room_of(name_of(path))
    if room == DOOR:
        return
    for line, name in imported(path):
        other = room_of(name)
        if not is_ours(name) or other in (room, DOOR):
            continue
        assert FLOORS[other] < FLOORS[room], f"{path.name}:{line}: {room} must not use {name}"


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(name_of(path)) for path in modules()} - {DOOR}
    assert rooms <= set(FLOORS)
    assert {
        "toolkit.cli",
        "toolkit.doctor",
        "toolkit.probe",
        "toolkit.acoustics",
        "toolkit.tuning",
        "toolkit.errors",
        "troubleshoot",
    } <= rooms


@pytest.mark.parametrize("path", [path for path in modules() if room_of(name_of(path)) == "troubleshoot"], ids=name_of)
def test_the_ground_floor_knows_no_card_and_nothing_of_toolkit(path: Path) -> None:
    found = [name for _, name in imported(path) if name.split(".")[0] in FOREIGN_TO_THE_GROUND]
    assert found == []


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if room_of(name_of(path)) not in ("toolkit.synthesis", "toolkit.bench")],
    ids=name_of,
)
def test_heavy_packages_are_imported_only_inside_functions(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not [name for name in names if name.split(".")[0] in HEAVY], f"{path.name}:{node.lineno}"


@pytest.mark.parametrize(
    "name",
    [
        *("toolkit", "toolkit.doctor", "toolkit.probe", "toolkit.errors", "troubleshoot", "toolkit.cli.main"),
        "toolkit.tuning",
    ],
)
def test_importing_a_room_loads_nothing_heavy(name: str) -> None:
    program = f"import sys, {name}; print([heavy for heavy in {HEAVY!r} if heavy in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_the_check_itself_sees_lazy_and_relative_imports(tmp_path: Path) -> None:
    path = ROOT / "toolkit" / "doctor" / "examination.py"
    assert "toolkit.probe.catalogue" in {name for _, name in imported(path)}
    lazy = {name for _, name in imported(ROOT / "toolkit" / "probe" / "watch.py")}
    assert "pandas" in lazy
    assert "toolkit.probe" in {name for _, name in imported(ROOT / "toolkit" / "probe" / "catalogue.py")}
