"""Which Python is looked at: ours, an executable, or the one inside a venv, conda or portable folder."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import UsageError

__all__ = ["INTERPRETER_KINDS", "Interpreter", "resolve_interpreter"]

INTERPRETER_KINDS = ("this", "executable", "venv", "conda", "portable")

# Where an environment keeps its interpreter: the first two on Linux and macOS, a venv and then conda on Windows.
_INSIDE = ("bin/python", "bin/python3", "Scripts/python.exe", "python.exe")
# Names under which a project folder usually holds its environment; the last two are those of portable Windows bundles.
_NESTED = (".venv", "venv", "env", "python_embeded", "python_embedded")


@dataclass(frozen=True)
class Interpreter:
    """A Python executable. ``folder`` is the environment it belongs to, when one is known."""

    executable: Path
    kind: str
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.kind not in INTERPRETER_KINDS:
            raise UsageError(f"interpreter kind {self.kind!r}: one of {', '.join(INTERPRETER_KINDS)}")
        if not self.executable.is_absolute():
            raise UsageError(f"interpreter {self.executable}: the path must be absolute")


def resolve_interpreter(path: str | None) -> Interpreter:
    """Find the interpreter that ``path`` means; ``None`` is the one that runs this toolkit.

    Takes an executable, a command on PATH (``python3.11``), a venv, conda or portable folder, or a project folder that
    holds exactly one of these. Symbolic links are kept, for a venv's ``python`` is one and means the venv.
    Raises :class:`UsageError` that says what was found instead and what to give.
    """
    if path is None:
        return _ours()
    if not path.strip():
        raise UsageError("--python is empty: give a Python executable, or the folder of a venv or conda environment")
    place = Path(os.path.expandvars(path)).expanduser()
    if not place.exists() and os.sep not in path and "/" not in path:
        on_path = shutil.which(path)
        if on_path:
            return _from_file(Path(on_path))
    place = Path(os.path.abspath(place))  # not resolve(): that would follow the link out of the venv
    if place.is_dir():
        return _from_folder(place)
    if place.is_file():
        return _from_file(place)
    parent = next((folder for folder in place.parents if folder.is_dir()), None)
    hint = f"; the nearest folder that exists is {parent}" if parent else ""
    raise UsageError(f"--python {path}: there is no such file or folder{hint}. Give the Python that runs the service")


def _ours() -> Interpreter:
    executable = Path(os.path.abspath(sys.executable))
    return Interpreter(executable, "this", _folder_of(executable))


def _from_file(file: Path) -> Interpreter:
    if not os.access(file, os.X_OK):
        raise UsageError(f"--python {file}: it may not be executed. Give the python executable of the environment")
    file = Path(os.path.abspath(file))
    if file == Path(os.path.abspath(sys.executable)):
        return _ours()
    folder = _folder_of(file)
    return Interpreter(file, _kind_of(folder) if folder else "executable", folder)


def _from_folder(folder: Path) -> Interpreter:
    found = _inside(folder)
    if found:
        return _from_file(found)
    nested = [inner for name in _NESTED if (inner := _inside(folder / name))]
    if len(nested) == 1:
        return _from_file(nested[0])
    if nested:
        choices = ", ".join(str(inner) for inner in nested)
        raise UsageError(f"--python {folder}: it holds several environments. Give one of: {choices}")
    if (folder / "pyvenv.cfg").is_file() or (folder / "conda-meta").is_dir():
        raise UsageError(
            f"--python {folder}: an environment whose python is gone (its base Python was removed or moved). "
            "Create the environment anew"
        )
    looked = ", ".join(_INSIDE)
    raise UsageError(f"--python {folder}: no Python in this folder (looked for {looked}). Give a venv or conda folder")


def _inside(folder: Path) -> Path | None:
    return next((folder / place for place in _INSIDE if (folder / place).is_file()), None)


def _folder_of(executable: Path) -> Path | None:
    for folder in executable.parents[:2]:
        if (folder / "pyvenv.cfg").is_file() or (folder / "conda-meta").is_dir() or any(folder.glob("python*._pth")):
            return folder
    return None


def _kind_of(folder: Path) -> str:
    if (folder / "pyvenv.cfg").is_file():
        return "venv"
    return "conda" if (folder / "conda-meta").is_dir() else "portable"
